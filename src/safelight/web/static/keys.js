// The keyboard: one table of what keys do, a dialog that shows it, and keys that can be changed.
import { $, h, keep, kept, notice, toggleBlur } from "./page.js";

const changed = JSON.parse(kept("safelight.keys", "{}"));
const actions = new Map();
let heldTold = false;

const typing = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    target.matches("textarea, select, input:not([type=range]):not([type=checkbox])"));

/** Bind actions: name -> {keys, label, do, once}. Keys are as KeyboardEvent.key, "Ctrl+z" with a modifier.
 *
 * What is to be done *once* is not done again by a key that is held down: that would rate pictures
 * that nobody has looked at.
 */
export function bind(table) {
  for (const [name, action] of Object.entries(table)) {
    actions.set(name, { ...action, usual: action.keys, keys: changed[name] ?? action.keys });
  }
}

const named = (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + key;
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const key = named(event);
  for (const action of actions.values()) {
    if (!action.keys.includes(key)) continue;
    const pressable =
      event.target instanceof HTMLElement && event.target.closest("button, summary, a");
    if ((key === " " || key === "Enter") && pressable && !pressable.matches(".tile, .cell")) return;
    if (
      event.target instanceof HTMLInputElement &&
      event.target.type === "range" &&
      key.startsWith("Arrow")
    )
      return;
    if (event.repeat && action.once) {
      if (!heldTold) notice("A key that is held down counts once.");
      heldTold = true;
      event.preventDefault();
      return;
    }
    heldTold = false;
    if (action.do(event) !== false) {
      event.preventDefault();
      return;
    }
  }
});

const shown = (key) =>
  ({ " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" })[key] ??
  (key.length === 1 ? key.toUpperCase() : key);

/** Give every action the keys that it came with, in all views. */
function forgetChanges() {
  for (const action of actions.values()) action.keys = action.usual;
  for (const name of Object.keys(changed)) delete changed[name];
  keep("safelight.keys", JSON.stringify(changed));
}

function help() {
  const told = h("p.quiet-text", { role: "status" }, "Press a key's button to change it.");
  const rows = [...actions.entries()].map(([name, action]) => {
    const caps = h(
      "button",
      { type: "button", class: "caps", title: "Change this key" },
      action.keys.map((key) => h("kbd", {}, shown(key))),
    );
    caps.addEventListener("click", () => {
      caps.replaceChildren("press a key…");
      const listen = (event) => {
        event.preventDefault();
        event.stopPropagation();
        if (event.key === "Shift" || event.key === "Control") return;
        removeEventListener("keydown", listen, true);
        if (event.key !== "Escape") {
          action.keys = [named(event)];
          changed[name] = action.keys;
          keep("safelight.keys", JSON.stringify(changed));
          const also = [...actions.values()].filter(
            (other) => other !== action && other.keys.includes(named(event)),
          );
          told.textContent = also.length
            ? `${shown(named(event))} also stands for: ${also.map((other) => other.label).join(", ")}.`
            : "";
        }
        caps.replaceChildren(...action.keys.map((key) => h("kbd", {}, shown(key))));
      };
      addEventListener("keydown", listen, true);
    });
    return h("div", {}, h("dt", {}, action.label), h("dd", {}, caps));
  });
  const dialog = h(
    "dialog.keys",
    { "aria-label": "Keys" },
    h("h2", {}, "Keys"),
    h("dl", {}, rows),
    told,
    h(
      "form",
      { method: "dialog" },
      h("button", { autofocus: true }, "Close"),
      " ",
      h("button.quiet", { type: "button", onclick: again }, "Usual keys"),
    ),
  );
  function again() {
    forgetChanges();
    dialog.remove(); // the close event would leave two of them for a moment
    help();
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

bind({
  search: {
    keys: ["/"],
    label: "Filter",
    do: () => {
      const field = $("#q") ?? $("input[type=search]");
      if (!field) return false;
      field.focus();
      field.select();
    },
  },
  blur: { keys: ["b"], label: "Blur until hovered", do: toggleBlur },
  help: { keys: ["?"], label: "These keys", do: help },
});
$("#help")?.addEventListener("click", help);
