// Saying one thing of many pictures: one event for what is ticked, and one for all of a filter.
import { ask, count, h, isAway, notice, send } from "./page.js";
import { newId, rater, sayOfMany, undo, undoable } from "./ratings.js";

const WORDS = {
  stars: (said) =>
    said.value
      ? `Give ${said.value} star${said.value === 1 ? "" : "s"} to`
      : "Take away the stars of",
  reject: (said) => (said.value ? "Reject" : "Take back the reject of"),
  favourite: (said) => (said.value ? "Make favourites of" : "Take back the favourite of"),
  note: (said) => (said.value ? "Put this note on" : "Take away the note of"),
  tags: (said) => (said.added?.length ? `Tag “${said.added.join(", ")}”:` : "Take tags away from"),
  albums: (said) =>
    said.added?.length && said.removed?.length
      ? `Rename the album “${said.removed[0]}” to “${said.added[0]}”:`
      : said.added?.length
        ? `Put into “${said.added[0]}”:`
        : `Take out of “${said.removed[0]}”:`,
};
export const pictures = (number) => `${count(number)} picture${number === 1 ? "" : "s"}`;

/** Ask whether to go on; resolves to true or false. */
export function confirmed(text, label, more = "") {
  return new Promise((decide) => {
    const dialog = h(
      "dialog",
      { "aria-label": label },
      h(
        "form",
        { method: "dialog" },
        h("p.asked", {}, text),
        more && h("p.quiet-text", {}, more),
        h(
          "p",
          {},
          h("button", { value: "ok", autofocus: true }, label),
          h("button.quiet", { value: "" }, "Cancel"),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      decide(dialog.returnValue === "ok");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** How many pictures a filter finds now, and a name of just these. */
export const chosenBy = (q) => ask(`/api/chosen?${new URLSearchParams({ q })}`);

/**
 * Say something of all that a filter finds, after telling how many they are.
 *
 * Resolves to the number of pictures of which it was said, or null when nothing was.
 */
export async function sayOfAll({ q, count: number, snapshot }, said, { sure = false } = {}) {
  const text = `${WORDS[said.says](said)} ${pictures(number)}?`;
  if (!sure && !(await confirmed(text, "Yes", "One undo takes all of it back."))) return null;
  const event_id = newId();
  const whole = { event_id, q, snapshot, ...(rater() ? { rater: rater() } : {}), ...said };
  try {
    await send("/api/ratings/many", whole);
  } catch (error) {
    if (error.status === 409 && error.body?.snapshot) {
      const now = error.body;
      const again = `These are ${pictures(now.count)} now, not ${count(number)}: the archive changed meanwhile. ${text.replace(pictures(number), pictures(now.count))}`;
      if (!(await confirmed(again, "Yes", "Nothing was done so far."))) return null;
      return sayOfAll({ q, count: now.count, snapshot: now.snapshot }, said, { sure: true });
    }
    notice(isAway(error) ? "Nothing was said: the server does not answer." : error.message);
    return null;
  }
  undoable.push({ ids: [event_id], rows: [], row: null });
  return number;
}

/** Say *said* of what is chosen, ticked or all; resolves to how many, or null. */
export async function sayOf(chosen, said, seen = []) {
  if (chosen.rows) {
    sayOfMany(chosen.rows, said);
    return chosen.count;
  }
  const number = await sayOfAll(chosen, said);
  if (number !== null) sayOfMany(seen, said, { written: true });
  return number;
}

/** Tell what was said last, with a button that takes just that back. */
export function doneNotice(number, what, undone = () => {}) {
  const said = undoable.at(-1);
  notice(`${pictures(number)}: ${what}.`, { label: "Undo", do: () => undone(undo(said)) });
}
