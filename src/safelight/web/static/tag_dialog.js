// Tags and a note, of one picture or of many; tags that are in use are offered while one types.
import { ask, h, put } from "./page.js";

const SHOWN = 14;
let known = null;
const knownTags = async () => {
  known ??= ask("/api/tags").then(
    (answer) => answer.tags,
    () => [],
  );
  return known;
};

/** The tags of a text: with commas between, each of one word or several, also in quotes. */
export const wordsOf = (text) => [
  ...new Set(
    (text ?? "")
      .split(/,|\n/)
      .map((tag) =>
        tag
          .trim()
          .replace(/^"([^"]*)"$/, "$1")
          .trim()
          .replace(/\s+/g, " "),
      )
      .filter(Boolean),
  ),
];

/** A field for tags with those in use below it, to be touched or completed with Tab. */
export function tagField(name, label, value) {
  const field = h("input", {
    name,
    value,
    maxlength: "500",
    autocomplete: "off",
    autocapitalize: "off",
    "aria-label": label,
  });
  const offers = h("div.offers", { role: "group", "aria-label": "Tags in use" });
  const lastWord = () => field.value.split(",").at(-1).trim().replace(/^"/, "");
  const take = (tag) => {
    const words = wordsOf(field.value);
    if (words.includes(tag) && lastWord() !== tag) {
      field.value = words.filter((one) => one !== tag).join(", ");
    } else {
      const before = field.value.slice(0, field.value.lastIndexOf(",") + 1);
      field.value = `${[...wordsOf(before), tag].join(", ")}, `;
    }
    field.focus();
    offer();
  };
  async function offer() {
    const words = new Set(wordsOf(field.value)),
      begun = lastWord().toLowerCase();
    const fitting = (await knownTags())
      .filter((tag) => tag.toLowerCase().startsWith(begun) || words.has(tag))
      .slice(0, SHOWN);
    put(
      offers,
      fitting.map((tag) =>
        h(
          "button.chip",
          { type: "button", "aria-pressed": String(words.has(tag)), onclick: () => take(tag) },
          tag,
        ),
      ),
    );
  }
  field.addEventListener("input", offer);
  field.addEventListener("keydown", (event) => {
    const first = [...offers.children].find((one) => one.getAttribute("aria-pressed") === "false");
    if (event.key !== "Tab" || event.shiftKey || !lastWord() || !first) return;
    event.preventDefault();
    take(first.textContent);
  });
  offer();
  return [field, offers];
}

/**
 * Ask for tags and a note.
 *
 * *many* is how many pictures it is about: then tags are added and taken away, and a note that is
 * left empty stays as it is. Resolves to {added, removed, note}, or null.
 */
export function askTags({ tags = "", notes = "", many = 0, title = "Tags" } = {}) {
  const before = many ? [] : wordsOf(tags);
  const [field, offers] = tagField(
    "tags",
    many ? "Tags to add, with commas between" : "Tags, with commas between",
    many ? "" : tags,
  );
  const [away, awayOffers] = many
    ? tagField("removed", "Tags to take away, with commas between", "")
    : [null, null];
  const remark = h(
    "textarea",
    { name: "note", rows: "3", maxlength: "5000", "aria-label": "Note" },
    many ? "" : (notes ?? ""),
  );
  field.autofocus = true;
  const dialog = h(
    "dialog.tags-dialog",
    { "aria-label": title },
    h(
      "form",
      { method: "dialog" },
      h("h2", {}, title),
      field,
      offers,
      away && h("details", {}, h("summary", {}, "Take tags away"), away, awayOffers),
      h("h2", {}, "Note"),
      remark,
      h(
        "p",
        {},
        h("button", { value: "ok" }, "Save"),
        h("button.quiet", { value: "", formnovalidate: true }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue !== "ok") {
        answer(null);
        return;
      }
      const now = wordsOf(field.value);
      const added = now.filter((tag) => !before.includes(tag));
      const removed = many ? wordsOf(away.value) : before.filter((tag) => !now.includes(tag));
      if (added.length) known = null; // what is in use has changed
      const changed = many ? Boolean(remark.value) : remark.value !== (notes ?? "");
      answer({ added, removed, note: changed ? remark.value : null });
    });
  });
}
