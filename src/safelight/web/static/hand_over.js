// Pictures as one file: how many and how large is said first, then the browser saves it.
import { ask, count, h, notice, send } from "./page.js";
import { followed } from "./progress_line.js";
import { newId } from "./ratings.js";
import { filesWords, sizeWords } from "./trash.js";

const KINDS = { jpg: "jpeg", jpeg: "jpeg", jfif: "jpeg", webp: "webp", avif: "avif", gif: "gif" };

const MOST_LOOKS = 30; // a second apart, for a download that nothing is heard of

/** Let a picture be dragged out as its file. */
export function dragFile(event, digest, name) {
  const url = new URL(`/pictures/${digest}`, location.href).href;
  const kind = KINDS[name.split(".").at(-1).toLowerCase()] ?? "png";
  event.dataTransfer.effectAllowed = "copyLink";
  event.dataTransfer.setData("DownloadURL", `image/${kind}:${name.replaceAll(":", "_")}:${url}`);
  event.dataTransfer.setData("text/uri-list", url);
}

/** Tell how far the download *name* is, with a way to break it off. */
function showProgress(name) {
  const path = `/api/hand-over/progress?${new URLSearchParams({ name })}`;
  let seen = false,
    looks = 0;
  const ended = new Promise((resolve) => {
    const look = async () => {
      const { of } = await ask(path).catch(() => ({ of: null }));
      looks += 1;
      // One that is large takes a while to begin; a small one may be over before the first look.
      if (of === null && (seen || looks === MOST_LOOKS)) resolve();
      else setTimeout(look, 1000);
      seen = seen || of !== null;
    };
    setTimeout(look, 1000);
  });
  followed(
    ended,
    path,
    ({ files, of }) => (of === null ? "" : `Download: ${count(files)} of ${filesWords(of)}.`),
    {
      label: "Cancel",
      do: async () => {
        await send("/api/hand-over/cancel", { name }).catch((error) => notice(error.message));
      },
    },
  );
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
  const name = newId();
  const option = (name, words) =>
    h("p", {}, h("label", {}, h("input", { type: "checkbox", name, value: "1" }), ` ${words}`));
  const form = h(
    "form",
    { method: "post", action: "/hand-over" },
    h("input", { type: "hidden", name: field, value: String(set[field]) }),
    h("input", { type: "hidden", name: "name", value: name }),
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
  form.addEventListener("submit", () => {
    setTimeout(() => dialog.close());
    showProgress(name);
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
