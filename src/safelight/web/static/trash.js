// Pictures into the trash, and back at once: what a set is, is said by a filter or by hashes.
import { ask, count, h, notice, send } from "./page.js";
import { followed } from "./progress_line.js";

/** A size in bytes as people say it. */
export function sizeWords(size) {
  let number = size;
  for (const unit of ["bytes", "kB", "MB"]) {
    if (number < 1000) return `${unit === "bytes" ? number : number.toFixed(1)} ${unit}`;
    number /= 1000;
  }
  return `${number.toFixed(1)} GB`;
}

export const filesWords = (number) => (number === 1 ? "1 file" : `${count(number)} files`);

/** What would be moved of a set, {q} or {sha256s}: {files, size, folders, left_count, ...}. */
export const planned = (set) => send("/api/trash/plan", set);

const list = (items) =>
  items.length &&
  h(
    "ul.reasons",
    {},
    items.map((item) => h("li", {}, item)),
  );

/** Ask in a dialog; resolves to whether it was confirmed. */
export function confirmed(title, lines, label) {
  const dialog = h(
    "dialog.asking",
    { "aria-label": title },
    h("h2", {}, title),
    ...lines,
    h(
      "form",
      { method: "dialog" },
      h(
        "p",
        {},
        h("button", { value: "ok" }, label),
        h("button.quiet", { value: "", autofocus: true }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "ok");
    });
  });
}

const leftWords = (answer) => [
  ...answer.left.map((one) => `${one.path.split(/[/\\]/).at(-1)} stays: ${one.told}.`),
  ...(answer.left_count > answer.left.length
    ? [`And ${count(answer.left_count - answer.left.length)} more stay.`]
    : []),
];

function planLines(plan) {
  const told = [
    [plan.used_again, "are used by further runs, too"],
    [plan.led_to, "led to other pictures, which stay"],
    [plan.linked, "have another name on the disk, and free no room"],
  ];
  return [
    h("p", {}, `${filesWords(plan.files)}, ${sizeWords(plan.size)}, in:`),
    list(Object.entries(plan.folders).map(([folder, n]) => `${folder} (${count(n)})`)),
    list([
      ...told.filter(([n]) => n).map(([n, words]) => `${count(n)} ${words}.`),
      ...leftWords(plan),
    ]),
    h("p.quiet-text", {}, "Ratings and records stay. You can undo this."),
  ].filter(Boolean);
}

/**
 * Move a set, {q} or {sha256s}, into the trash, after asking.
 * @returns whether anything was moved; *changed* is called then, and again when it is undone.
 */
export async function discard(set, changed = () => {}) {
  try {
    const plan = await planned(set);
    if (!plan.files) {
      notice(leftWords(plan)[0] ?? "None of these pictures has a file to move.");
      return false;
    }
    if (!(await confirmed("Move to trash?", planLines(plan), "Move to trash"))) return false;
    const moved = await followed(
      send("/api/trash", { ...set, snapshot: plan.snapshot }),
      "/api/trash/progress",
      ({ done, of }) =>
        done < of ? `Moving to the trash: ${count(done)} of ${filesWords(of)}.` : "",
    );
    changed();
    notice(
      `${filesWords(moved.files)} moved to the trash.` +
        (moved.left_count ? ` ${filesWords(moved.left_count)} stayed.` : ""),
      moved.files && { label: "Undo", do: () => undo(moved.discard, changed) },
    );
    return moved.files > 0;
  } catch (error) {
    notice(error.message);
    return false;
  }
}

async function undo(name, changed) {
  try {
    const back = await followed(
      send("/api/trash/restore", { which: name }),
      "/api/trash/progress",
      ({ done, of }) => (done < of ? `Restoring: ${count(done)} of ${filesWords(of)}.` : ""),
    );
    notice(`${filesWords(back.files)} restored.${back.left_count ? ` ${leftWords(back)[0]}` : ""}`);
  } catch (error) {
    notice(error.message);
  }
  changed();
}

export const inTrash = () => ask("/api/trash");
