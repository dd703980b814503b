// The field that finds: what it offers while one types, and what is set, piece by piece.

import { shortened } from "./facets.js";
import { $, ask, count, h, put } from "./page.js";

/** A combobox: arrows choose, Tab takes, Enter takes what is chosen or searches, Escape closes. */
export class FindField {
  constructor(input, list) {
    this.input = input;
    this.list = list;
    this.asking = null;
    this.candidates = [];
    this.start = 0;
    this.at = -1;
    input.addEventListener("input", () => this.offer());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus
    list.addEventListener("click", (event) => {
      const place = [...list.children].indexOf(event.target.closest("li"));
      if (place >= 0) this.take(place);
    });
  }

  get isOpen() {
    return !this.list.hidden;
  }

  async offer() {
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    const cursor = this.input.selectionStart ?? this.input.value.length;
    const q = this.input.value.slice(0, cursor);
    if (!q.trim()) {
      this.close();
      return;
    }
    try {
      const answer = await ask(`/api/complete?${new URLSearchParams({ q })}`, { signal });
      if (!signal.aborted && document.activeElement === this.input) this.show(answer);
    } catch {
      if (!signal.aborted) this.close(); // typing goes on without
    }
  }

  show({ start, candidates }) {
    this.start = start;
    this.candidates = candidates;
    this.at = -1;
    put(
      this.list,
      candidates.map((one, place) =>
        h(
          "li",
          { role: "option", id: `completion-${place}`, "aria-selected": "false" },
          h("span", { title: one.clause }, shortened(one.clause.trim(), 44)),
          h("small", {}, one.kind, one.count !== null && ` · ${count(one.count)}`),
        ),
      ),
    );
    this.list.hidden = candidates.length === 0;
    this.list.scrollTop = 0;
    this.tell();
  }

  tell() {
    this.input.setAttribute("aria-expanded", String(this.isOpen));
    if (this.at < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `completion-${this.at}`);
    [...this.list.children].forEach((item, place) => {
      item.setAttribute("aria-selected", String(place === this.at));
      if (place === this.at) item.scrollIntoView({ block: "nearest" });
    });
  }

  close() {
    this.asking?.abort();
    this.list.hidden = true;
    this.at = -1;
    this.tell();
  }

  key(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !this.isOpen && step > 0) this.offer();
    if (!this.isOpen) return;
    if (step) {
      const many = this.candidates.length + 1; // one place is none of them
      this.at = ((this.at + 1 + step + many) % many) - 1;
      this.tell();
    } else if (event.key === "Escape") this.close();
    else if (event.key === "Tab" && !event.shiftKey) this.take(Math.max(0, this.at));
    else if (event.key === "Enter" && this.at >= 0) this.take(this.at);
    else {
      if (event.key === "Enter") this.close();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  take(place) {
    const { input } = this,
      cursor = input.selectionStart ?? input.value.length,
      chosen = this.candidates[place].clause,
      text = /[ (]$/.test(chosen) ? chosen : `${chosen} `,
      rest = input.value.slice(cursor).replace(/^[^\s()]*['"]?\s*/, ""),
      before = input.value.slice(0, this.start) + text;
    input.value = before + rest;
    input.setSelectionRange(before.length, before.length);
    input.focus();
    this.close();
    this.offer();
  }
}

/** Show what must all hold, each with a way to leave it out. */
export function showChips(root, chips, go) {
  const focused = [...root.querySelectorAll("button")].indexOf(document.activeElement);
  const leave = (q) => () => go({ q });
  put(
    root,
    chips.map((chip) =>
      h(
        "li",
        {},
        h(
          "button.chip",
          {
            type: "button",
            title: chip.clause,
            "aria-label": `Leave out ${chip.clause}`,
            onclick: leave(chip.q),
            onkeydown: (event) => {
              if (event.key !== "Delete" && event.key !== "Backspace") return;
              event.preventDefault();
              event.stopPropagation();
              leave(chip.q)();
            },
          },
          h("span", {}, briefly(chip.clause)),
          h("span", { "aria-hidden": "true" }, "✕"),
        ),
      ),
    ),
    chips.length > 1 &&
      h("li", {}, h("button.quiet", { type: "button", onclick: leave("") }, "Clear")),
  );
  root.hidden = chips.length === 0;
  if (focused < 0) return;
  const left = root.querySelectorAll("button.chip");
  if (left.length) left[Math.min(focused, left.length - 1)].focus();
  else $("#q").focus();
}

// What the facet of stars puts into a filter, as it stands in the facet.
const OF_STARS = /^\(stars >= (\d)( and stars < \d)? and not rejected = true\)$/;

/** The clause with its long names shortened, and then itself. */
function briefly(clause) {
  const stars = OF_STARS.exec(clause);
  if (stars) return `${"★".repeat(Number(stars[1]))}${stars[2] ? "" : " and more"}`;
  return shortened(
    clause.replace(/'((?:[^']|'')*)'/g, (_, name) => `'${shortened(name, 26)}'`),
    60,
  );
}
