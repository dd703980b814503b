// What is known of one picture, in the order people read it: words, LoRAs, settings, then the rest.
import { copyText } from "./copying.js";
import { ask, count, h, icon, isOwner, notice, put, send } from "./page.js";
import { discard } from "./trash.js";

const STATUS = {
  defaulted: "The file leaves it out, which means this for its tool.",
  unresolved: "The file does not tell it in a way that can be followed.",
  conflicting: "Two places in the file disagree.",
};
const FEW = 6; // settings beyond the first seven that are not folded
const LONG = 500, // characters of a prompt that are shown at once
  LINES = 10;
const RESTS_MS = 250; // who walks on sooner asks for nothing

const browse = (q) => `/?${new URLSearchParams({ q })}`;
const texts = (text) => `'${text.replaceAll("'", "''")}'`;

const copyButton = (text, what) =>
  h(
    "button.copy",
    {
      type: "button",
      title: `Copy ${what}`,
      "aria-label": `Copy ${what}`,
      onclick: () => copyText(text, what),
    },
    icon("copy"),
  );

async function copyGraph(p) {
  const told = await ask(`/api/pictures/${p.sha256}/settings?as=comfyui`).catch((error) => error);
  if (told instanceof Error) notice(told.message);
  else await copyText(told.text, "ComfyUI graph", told.notes);
}

/** A name, its value with a way to copy it, and below what is to be known of the value. */
const row = (name, value, copied, ...notes) =>
  h(
    "div",
    {},
    h("dt", {}, name),
    h("dd", {}, h("span.value", {}, value, copied && copyButton(copied, name)), notes),
  );

function settingRow(one) {
  const note = (text) => h("span.note", {}, text);
  return row(
    one.label,
    one.value || h("span.quiet-text", {}, "not known"),
    one.value,
    one.asked !== null && h("span.asked-for", {}, `Asked for ${one.asked || "nothing"}.`),
    one.native && note(`Spelled ${one.native}.`),
    one.others.map((other) => note(`Or ${other}.`)),
    one.status !== "read" && note(STATUS[one.status] ?? one.status),
  );
}

/** Words as they are; of very many the first lines, and the rest at a press. */
function words(kind, text) {
  const lines = h(`p.${kind}`, {}, text);
  if (text.length <= LONG && text.split("\n").length <= LINES) return lines;
  lines.classList.add("cut");
  const all = h("button.quiet", { type: "button", "aria-expanded": "false" }, "Show all");
  all.addEventListener("click", () => {
    const cut = lines.classList.toggle("cut");
    all.setAttribute("aria-expanded", String(!cut));
    all.textContent = cut ? "Show all" : "Show less";
  });
  return h("div.long", {}, lines, all);
}

function prompts(p) {
  const loras = p.settings.filter((one) => one.name.startsWith("lora."));
  const chip = (one) => {
    const name = one.name.slice("lora.".length);
    return h(
      "a.chip",
      { href: browse(`lora(${texts(name)})`), title: `Pictures with the LoRA ${name}` },
      name,
      " ",
      h("b", {}, one.value),
    );
  };
  return [
    h(
      "div.words",
      {},
      words("prompt", p.words || "(no prompt)"),
      p.whole_prompt && copyButton(p.whole_prompt, "the prompt"),
    ),
    loras.length ? h("p.loras", { "aria-label": "LoRAs" }, loras.map(chip)) : null,
    p.negative
      ? h(
          "div.words",
          {},
          words("negative", p.negative),
          copyButton(p.negative, "the negative prompt"),
        )
      : null,
  ];
}

function settingRows(p) {
  const plain = p.settings.filter((one) => !one.name.startsWith("lora."));
  const few = p.rest.length > FEW + 1 ? p.rest.slice(0, FEW) : p.rest,
    more = p.rest.slice(few.length);
  return [
    h("dl.facts.settings", { "aria-label": "Settings" }, plain.map(settingRow)),
    few.length ? h("dl.facts.settings.other", {}, few.map(settingRow)) : null,
    more.length
      ? h(
          "details.fold",
          {},
          h("summary", {}, `${count(more.length)} more settings`),
          h("dl.facts.settings", {}, more.map(settingRow)),
        )
      : null,
  ];
}

/** In the trash, since when, and the way back. */
function trashNote(viewer) {
  const p = viewer.picture;
  if (!p.trash) return null;
  const back = async () => {
    try {
      const answer = await send("/api/trash/restore", { which: p.sha256 });
      if (answer.files) notice("1 file restored.");
      else notice(answer.left[0]?.told ? `It stays: ${answer.left[0].told}.` : "It is not there.");
      await viewer.again();
    } catch (error) {
      notice(error.message);
    }
  };
  return h(
    "p.in-trash",
    { role: "status" },
    p.trash.since
      ? `This picture is in the trash since ${p.trash.since}. `
      : "This picture was discarded, and its file deleted for good. Its record stays. ",
    isOwner && p.trash.since && h("button.quiet", { type: "button", onclick: back }, "Restore it"),
  );
}

/** One click each: what compares with this picture. */
function kindred(viewer) {
  const p = viewer.picture;
  const beside = h("p.beside", { hidden: true });
  const asked = async () => viewer.kindredOf(p.sha256);
  const sameSeed = h("button.quiet.same-seed", { type: "button" }, "Same seed");
  const alike = h("button.quiet.alike", { type: "button" }, "More like this");
  const go = (act) => async () => {
    try {
      act(await asked());
    } catch (error) {
      notice(error.message);
    }
  };
  sameSeed.addEventListener(
    "click",
    go(({ seed }) => {
      if (!seed?.count) notice("No other picture here has this seed and prompt.");
      else if (seed.count < 4 || !seed.q)
        location.href = `/compare?pictures=${seed.pictures.join(",")}`;
      else location.href = browse(seed.q);
    }),
  );
  alike.addEventListener(
    "click",
    go(({ more }) => {
      if (more) location.href = browse(more.q);
      else notice("There is no other picture like it to show.");
    }),
  );
  const show = ({ seed, more }) => {
    if (viewer.picture !== p) return;
    if (seed?.count) sameSeed.textContent = `Same seed: ${count(seed.count)} more`;
    if (more) alike.title = `${count(more.count)} with the same ${more.by.join(", ")}`;
    const found = (seed?.beside ?? []).filter((one) => seed.q || !one.sheet);
    beside.hidden = !found.length;
    put(
      beside,
      h("span.quiet-text", {}, "Compare with another"),
      found.map((one) =>
        h(
          "a.chip",
          {
            href: one.sheet
              ? `/sheet?${new URLSearchParams({ q: seed.q, x: one.name, around: p.sha256 })}`
              : `/compare?pictures=${one.pictures.join(",")}`,
            title: one.values.join(", ").slice(0, 300),
            "data-beside": one.name,
          },
          one.label,
          " ",
          h("b", {}, count(one.values.length)),
        ),
      ),
    );
  };
  clearTimeout(viewer.resting);
  viewer.resting = setTimeout(() => {
    if (viewer.picture === p)
      asked()
        .then(show)
        .catch(() => {});
  }, RESTS_MS);
  return [
    h(
      "p.actions",
      {},
      sameSeed,
      p.same_prompt && h("a.quiet", { href: browse(p.same_prompt) }, "Same prompt"),
      alike,
      isOwner && h("a.quiet", { href: `/runs/new?like=${p.sha256}` }, "Run again"),
    ),
    beside,
  ];
}

function family(viewer) {
  const p = viewer.picture;
  const thumb = (digest, label) =>
    h(
      "a.kin",
      { href: viewer.host.link(digest) },
      h("img.veiled", { src: `/thumbnails/${digest}?side=192`, alt: "" }),
      h("span", {}, label),
    );
  const part = (title, kins) => (kins.length ? [h("h2", {}, title), h("div.kins", {}, kins)] : []);
  return [
    ...part("Made from", p.parent ? [thumb(p.parent, p.parent_label || "another picture")] : []),
    ...part(
      "Became",
      p.children.map((one) => thumb(one.sha256, `${one.stage} ${one.width} × ${one.height}`)),
    ),
  ];
}

function file(viewer) {
  const p = viewer.picture;
  const size = `${p.width} × ${p.height}`;
  const drawn = p.settings.find((one) => one.name === "size")?.value;
  return [
    h("h2", {}, "File"),
    h(
      "dl.facts",
      {},
      row("Name", p.file_name, p.path ?? p.file_name),
      p.folder &&
        row(
          "Folder",
          h("a", { href: browse(p.folder_q), title: "The pictures of this folder" }, p.folder),
          p.whole_folder,
        ),
      size !== drawn && row("Picture", size),
      p.timestamp && row("Made", p.timestamp.slice(0, 19).replace("T", " ")),
      p.seconds > 0 && row("Took", `${p.seconds.toFixed(2)} s`),
      p.tool && row(p.imported ? "Made by" : "Engine", p.tool),
      !p.imported &&
        row(
          "Run",
          isOwner && p.status !== "running"
            ? h("a", { href: `/runs/${encodeURIComponent(p.run_id)}` }, p.run.name)
            : h("a", { href: browse(p.run.q) }, p.run.name),
        ),
    ),
    h(
      "p.actions",
      {},
      h("a.quiet", { href: `/pictures/${p.sha256}?download`, download: p.file_name }, "Save file"),
      h(
        "button.quiet",
        { type: "button", onclick: () => copyText(p.parameters, "A1111 text") },
        "Copy as A1111 text",
      ),
      h("button.quiet", { type: "button", onclick: () => copyGraph(p) }, "Copy as ComfyUI graph"),
      isOwner &&
        p.has_file &&
        !p.trash &&
        h(
          "button.quiet",
          {
            type: "button",
            onclick: () => discard({ sha256s: [p.sha256] }, () => viewer.host.discarded?.()),
          },
          "Move to trash…",
        ),
    ),
  ];
}

function folded(p) {
  const facts = (values) =>
    Object.entries(values)
      .filter(([, value]) => value !== null && value !== "")
      .map(([key, value]) =>
        row(key.replaceAll("_", " "), typeof value === "string" ? value : JSON.stringify(value)),
      );
  const chosen = [...facts({ chosen: p.label }), ...facts(p.choices), ...facts(p.templates)];
  const raw = h(
    "details.fold.raw",
    {
      ontoggle: async ({ target: box }) => {
        if (!box.open || box.dataset.read) return;
        box.dataset.read = "1";
        try {
          const { texts: written } = await ask(`/api/pictures/${p.sha256}/metadata`);
          for (const [key, value] of Object.entries(written))
            box.append(h("h3", {}, key), h("pre", { tabindex: "0" }, value));
          if (!Object.keys(written).length)
            box.append(h("p", {}, "The file says nothing of itself."));
        } catch (error) {
          box.append(h("p.fault", {}, error.message));
        }
      },
    },
    h("summary", {}, "Raw metadata"),
  );
  return [
    p.scores?.length
      ? [
          h("h2", {}, "Scores by programs"),
          h(
            "dl.facts.scores",
            {},
            p.scores.map((one) => row(one.scorer, `${one.number} (${one.unit})`)),
          ),
        ]
      : null,
    chosen.length
      ? h(
          "details.fold",
          {},
          h("summary", {}, "What was chosen, and from what"),
          h("dl.facts", {}, chosen),
        )
      : null,
    h(
      "details.fold",
      {},
      h("summary", {}, "What it ran on"),
      h(
        "dl.facts",
        {},
        row("SHA-256", `${p.sha256.slice(0, 12)}…`, p.sha256),
        facts({ status: p.status, ...p.backend, ...p.environment }),
      ),
    ),
    p.warnings.length
      ? h(
          "ul.reasons",
          {},
          p.warnings.map((one) => h("li", {}, one)),
        )
      : null,
    raw,
  ];
}

/** What is another than at the picture before. */
export function changes(before, p) {
  const told = (of) =>
    new Map(
      [
        { label: "Prompt", value: of.whole_prompt },
        { label: "Negative prompt", value: of.negative },
        ...of.settings,
        ...of.rest,
      ].map((one) => [one.label, one.value]),
    );
  const was = told(before),
    here = told(p);
  const names = [...new Set([...was.keys(), ...here.keys()])].filter(
    (name) => (was.get(name) ?? "") !== (here.get(name) ?? ""),
  );
  const shown = (value) => value || "(not there)";
  return h(
    "details.fold.changes",
    { open: true },
    h("summary", {}, "Changed from the previous picture"),
    names.length
      ? h(
          "ul",
          {},
          names.map((name) =>
            h(
              "li",
              {},
              h("b", {}, name),
              " ",
              h("del", {}, shown(was.get(name))),
              " → ",
              h("ins", {}, shown(here.get(name))),
            ),
          ),
        )
      : h("p.quiet-text", {}, "Nothing but the picture."),
  );
}

/** Lines in place of what is on its way. */
export const skeleton = () =>
  [5, 9, 7, 4, 6, 5, 3].map((width) => h(`span.bone.bone-${width}`, { "aria-hidden": "true" }));

/** Put all of *viewer*'s picture into *info*; a `div.said` is left for what people say of it. */
export function showSettings(viewer, info) {
  const p = viewer.picture;
  const { before } = viewer;
  put(
    info,
    trashNote(viewer),
    prompts(p),
    settingRows(p),
    h("div.said", {}),
    kindred(viewer),
    before && before.sha256 !== p.sha256 ? changes(before, p) : null,
    family(viewer),
    file(viewer),
    ...folded(p),
  );
}
