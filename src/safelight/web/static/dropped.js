// A picture that is dropped on the page, or chosen: its settings, and what can be done with it.
import { count, h, notice, put } from "./page.js";

const canRun = document.documentElement.dataset.canRun !== undefined;
export const BROUGHT = "safelight.brought";

const SHARED = {
  model: "model",
  lora: "LoRAs",
  sampler: "sampler",
  scheduler: "scheduler",
  steps: "steps",
  cfg_scale: "CFG",
  size: "size",
};
const LEARNED = {
  defaulted: "left out, which means this for its tool",
  unresolved: "not told in a way that can be followed",
  conflicting: "two places disagree",
};
const OUTCOMES = {
  full: "All that is needed to draw it again was read.",
  partly: "Part of its settings was read.",
  none: "It does not say how it was made.",
};

/** Hand *file* to the server, which keeps nothing of it unless *path* asks it to. */
async function hand(file, path = "") {
  const answer = await fetch(`/api/dropped${path}?${new URLSearchParams({ name: file.name })}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  }).catch(() => {
    throw new Error("safelight is not running, or the file cannot be read any more.");
  });
  const body = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function rows(settings) {
  return settings.map((one) =>
    h(
      "div",
      {},
      h("dt", {}, one.label),
      h(
        "dd",
        {},
        one.value || h("span.quiet-text", {}, "not known"),
        one.native ? h("span.quiet-text", {}, ` (${one.native})`) : null,
        one.others.map((other) => h("span.quiet-text", {}, ` or ${other}`)),
        one.status === "read"
          ? null
          : h("span.badge", { title: LEARNED[one.status] ?? "" }, one.status),
      ),
    ),
  );
}

function runAgain(told) {
  // Numbers that JavaScript would round go as text.
  const exact = /"seed":\s*\d{16,}/.test(JSON.stringify(told.config));
  const brought = { tool: told.tool, engine: told.engine };
  if (exact) brought.toml = told.toml;
  else brought.config = told.config;
  sessionStorage.setItem(BROUGHT, JSON.stringify(brought));
  location.href = "/runs/new";
}

function acts(told, file, status) {
  const { alike } = told;
  const keeping = h("button.quiet", { type: "button" }, "Import");
  keeping.addEventListener("click", async () => {
    keeping.disabled = true;
    try {
      await hand(file, "/keep");
      put(status, "It is being imported, and is kept in the archive.");
      keeping.remove();
    } catch (error) {
      put(status, error.message);
      keeping.disabled = false;
    }
  });
  return h(
    "p.dialog-acts",
    {},
    alike
      ? h("a.button", { href: `/?${new URLSearchParams({ q: alike.q })}` }, "Find others like it")
      : null,
    canRun && told.settings.length
      ? h(
          alike ? "button.quiet" : "button",
          { type: "button", onclick: () => runAgain(told) },
          "Run again",
        )
      : null,
    told.known ? h("a.quiet", { href: `/look/${told.sha256}` }, "Look at it here") : keeping,
  );
}

function others(alike) {
  if (!alike) return "No picture here has the same model, LoRAs, sampler or size.";
  const shared = alike.by.map((name) => SHARED[name] ?? name);
  const last = shared.pop();
  const words = shared.length ? `${shared.join(", ")} and ${last}` : last;
  const many =
    alike.count >= 100
      ? "100 or more pictures"
      : alike.count === 1
        ? "1 picture"
        : `${count(alike.count)} pictures`;
  return `${many} here with the same ${words}.`;
}

function settings(told, file) {
  const status = h("p.quiet-text", { role: "status" });
  const tool = told.tool ? `${told.tool} ${told.version}`.trim() : "";
  return [
    h(
      "p",
      {},
      tool ? h("b", {}, tool) : "Nothing says which tool made it.",
      tool ? ". " : " ",
      OUTCOMES[told.outcome],
    ),
    told.unread.length
      ? h("p.quiet-text", {}, `Not read: ${told.unread.join(", ").replaceAll("_", " ")}.`)
      : null,
    h("dl.facts", {}, rows(told.settings)),
    told.prompt ? h("p.prompt", {}, told.prompt) : null,
    told.negative ? h("p.negative", {}, told.negative) : null,
    told.rest.length
      ? h(
          "details",
          {},
          h("summary", {}, `${count(told.rest.length)} more settings`),
          h("dl.facts", {}, rows(told.rest)),
        )
      : null,
    told.warnings.length
      ? h(
          "ul.reasons",
          {},
          told.warnings.map((text) => h("li", {}, text)),
        )
      : null,
    told.settings.length ? h("p.quiet-text", {}, others(told.alike)) : null,
    acts(told, file, status),
    status,
  ];
}

let asked = 0;

/** Show the settings of the first of *files*; the others are a step away. */
export async function showFiles(files, at = 0) {
  const mine = ++asked;
  const file = files[at];
  document.querySelector("dialog.dropped")?.remove();
  const source = URL.createObjectURL(file);
  const image = h("img.veiled", { src: source, alt: file.name });
  const body = h("div.dropped-told", { role: "status" }, h("p", {}, "Reading…"));
  const step = (by, label, text) =>
    h(
      "button.quiet",
      {
        type: "button",
        "aria-label": label,
        disabled: !files[at + by],
        onclick: () => showFiles(files, at + by),
      },
      text,
    );
  const dialog = h(
    "dialog.dropped",
    { "aria-label": file.name },
    h(
      "div.dropped-head",
      {},
      h("h2", { title: file.name }, file.name),
      files.length > 1
        ? [
            step(-1, "The file before", "‹"),
            h("span.quiet-text", {}, `${at + 1} of ${files.length}`),
            step(1, "The next file", "›"),
          ]
        : null,
      h(
        "button.quiet",
        { type: "button", "aria-label": "Close", onclick: () => dialog.close() },
        "✕",
      ),
    ),
    h("div.dropped-body", {}, h("div.dropped-picture.veilable", {}, image), body),
  );
  image.addEventListener("error", () => image.parentElement.remove());
  dialog.addEventListener("close", () => {
    URL.revokeObjectURL(source);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  try {
    const told = await hand(file);
    if (mine === asked) put(body, settings(told, file));
  } catch (error) {
    if (mine === asked) put(body, h("p.fault", {}, error.message));
  }
}

/** Ask for a file, for who cannot drop one. */
export function chooseFile() {
  const field = h("input", { type: "file", accept: "image/*", multiple: true });
  field.addEventListener("change", () => {
    if (field.files.length) showFiles([...field.files]);
  });
  field.click();
}

// A picture of the page that is dragged is no file that comes from outside.
let ours = false;
addEventListener("dragstart", () => {
  ours = true;
});
addEventListener("dragend", () => {
  ours = false;
});
const brings = (event) => !ours && event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!brings(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!brings(event)) return;
  event.preventDefault();
  const files = [...event.dataTransfer.files];
  if (files.length) showFiles(files);
  else notice("Nothing was dropped that is a file.");
});
