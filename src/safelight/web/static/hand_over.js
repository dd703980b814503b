// Pictures as one file: how many and how large is said first, then the browser saves it.
import { h, notice, send } from "./page.js";
import { filesWords, sizeWords } from "./trash.js";

const KINDS = { jpg: "jpeg", jpeg: "jpeg", jfif: "jpeg", webp: "webp", avif: "avif", gif: "gif" };

/** Let a picture be dragged out as its file. */
export function dragFile(event, digest, name) {
  const url = new URL(`/pictures/${digest}`, location.href).href;
  const kind = KINDS[name.split(".").at(-1).toLowerCase()] ?? "png";
  event.dataTransfer.effectAllowed = "copyLink";
  event.dataTransfer.setData("DownloadURL", `image/${kind}:${name.replaceAll(":", "_")}:${url}`);
  event.dataTransfer.setData("text/uri-list", url);
}

/** Ask how a set, {q} or {sha256s}, is to be handed over, and save it as a .zip. */
export async function handOver(set) {
  let plan;
  try {
    plan = await send("/api/hand-over", set);
  } catch (error) {
    notice(error.message);
    return;
  }
  if (!plan.files) {
    notice("None of these pictures has a file.");
    return;
  }
  const field = "sha256s" in set ? "sha256s" : "q";
  const option = (name, words) =>
    h("p", {}, h("label", {}, h("input", { type: "checkbox", name, value: "1" }), ` ${words}`));
  const form = h(
    "form",
    { method: "post", action: "/hand-over" },
    h("input", { type: "hidden", name: field, value: String(set[field]) }),
    option("strip", "Without settings: take every text out of the files"),
    option("page", "With a page of all pictures, in one file"),
    option("sheet", "With a contact sheet"),
    h(
      "p",
      {},
      h("button", {}, "Download"),
      h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Cancel"),
    ),
  );
  const dialog = h(
    "dialog.asking",
    { "aria-label": "Download" },
    h("h2", {}, "Download"),
    h("p", {}, `${filesWords(plan.files)}, ${sizeWords(plan.size)}, as one .zip.`),
    form,
  );
  form.addEventListener("submit", () => setTimeout(() => dialog.close()));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
