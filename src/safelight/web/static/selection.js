// Choosing many pictures in the grid, and the bar that says what can be done with them.
import { albumsOf, putIntoAlbum, takeOutOfAlbum } from "./albums.js";
import { bind } from "./keys.js";
import { chosenBy, doneNotice, pictures, sayOf } from "./many.js";
import { $, count, h, isOwner, notice, put } from "./page.js";
import { selectionActions } from "./selection_actions.js";
import { askTags } from "./tag_dialog.js";

export class Selection {
  /** Host: {rows() , more() whether there are more, filter() , changed() , undone(last), said()}. */
  constructor(bar, host) {
    this.bar = bar;
    this.host = host;
    new ResizeObserver(() => this.makeRoom()).observe(bar);
    this.ticked = new Map();
    this.all = null;
    this.anchor = null;
    this.show();
  }
  get count() {
    return this.all ? this.all.count : this.ticked.size;
  }
  has(row) {
    return this.all ? true : this.ticked.has(row.sha256);
  }
  /** What is chosen, as actions are given it. */
  get chosen() {
    return this.all
      ? { ...this.all, rows: null }
      : { count: this.ticked.size, rows: [...this.ticked.values()], q: null, snapshot: null };
  }
  /** Of what is chosen, the rows that the page has. */
  get seen() {
    return this.all ? this.host.rows() : [...this.ticked.values()];
  }
  /** Those that were ticked one by one stay; of all of a filter these become that. */
  apart() {
    if (!this.all) return;
    for (const row of this.host.rows()) this.ticked.set(row.sha256, row);
    if (this.all.count > this.ticked.size)
      notice(`Of all ${count(this.all.count)}, only those stay selected that are loaded.`);
    this.all = null;
  }
  toggle(index) {
    const row = this.host.rows()[index];
    if (!row) return;
    this.apart();
    if (!this.ticked.delete(row.sha256)) this.ticked.set(row.sha256, row);
    this.anchor = row.sha256;
    this.changed();
  }
  /** From the picture that was ticked last to this one. */
  extend(index) {
    this.apart();
    const rows = this.host.rows(),
      known = rows.findIndex((row) => row.sha256 === this.anchor),
      from = known < 0 ? index : known;
    for (const row of rows.slice(Math.min(from, index), Math.max(from, index) + 1))
      this.ticked.set(row.sha256, row);
    this.anchor = rows[from]?.sha256 ?? null;
    this.changed();
  }
  /** All that the filter finds, also what is not loaded yet. */
  async everything() {
    const q = this.host.filter();
    try {
      const { count: number, snapshot } = await chosenBy(q);
      if (q !== this.host.filter()) return;
      this.ticked.clear();
      this.all = number ? { q, count: number, snapshot } : null;
      this.changed();
    } catch (error) {
      notice(error.message);
    }
  }
  clear() {
    this.ticked.clear();
    this.all = null;
    this.anchor = null;
    this.changed();
  }
  changed() {
    this.show();
    this.host.changed();
  }
  /** The rows of the grid are others now: what was ticked stays, what a filter chose does not. */
  moved() {
    this.anchor = null;
    if (this.all) this.clear();
  }

  // -- saying -----------------------------------------------------------------------------

  /** Say *said* of what is chosen; *what* is told when it was. */
  async say(said, what) {
    const number = await sayOf(this.chosen, said, this.seen);
    if (number === null) return;
    doneNotice(number, what, this.host.undone);
    await this.after(true);
  }
  /** Show what there is now, once *done* says that something was said. */
  async after(done) {
    if (!(await done)) return;
    await this.refresh();
    this.changed();
    this.host.said();
  }
  /** After all of a filter was changed from here, it may find others. */
  async refresh() {
    if (!this.all) return;
    const before = this.all;
    const now = await chosenBy(before.q).catch(() => null);
    if (this.all !== before) return;
    if (now?.count === before.count) this.all = { q: before.q, ...now };
    else this.clear();
    this.show();
  }
  /** Whether all that is chosen have it: of what a filter chose the server knows, not this page. */
  async allHave(clause, has) {
    if (!this.all) return [...this.ticked.values()].every(has);
    const { q, count: number } = this.all;
    const those = q.trim() ? `(${q}) and ${clause}` : clause;
    return (await chosenBy(those)).count === number;
  }
  async stars(value) {
    const asked = this.all;
    try {
      const same = await this.allHave(`stars = ${value}`, (row) => row.stars === value);
      if (this.all?.q !== asked?.q) return; // others are chosen by now
      const given = same ? 0 : value;
      const stars = `${given} star${given === 1 ? "" : "s"}`;
      await this.say({ says: "stars", value: given }, given ? stars : "stars taken away");
    } catch (error) {
      notice(error.message);
    }
  }
  /** Say it of all that is chosen, or take it back where all have it. */
  async flag(says, name) {
    const asked = this.all;
    try {
      const have = await this.allHave(`${name} = true`, (row) => row[name]);
      if (this.all?.q !== asked?.q) return;
      const word = says === "reject" ? "rejected" : "favourites";
      await this.say({ says, value: !have }, have ? `not ${word} any more` : word);
    } catch (error) {
      notice(error.message);
    }
  }
  async tags() {
    const many = this.count;
    const said = await askTags({ many, title: `Tags of ${pictures(many)}` });
    if (!said) return;
    if (said.added.length || said.removed.length)
      await this.say(
        { says: "tags", added: said.added, removed: said.removed },
        said.added.length ? `tagged “${said.added.join(", ")}”` : "tags taken away",
      );
    if (said.note !== null) await this.say({ says: "note", value: said.note }, "note kept");
  }
  /** Do what a key does to one picture to all that are chosen; false when none are. */
  act(says, value) {
    if (!this.count) return false;
    if (says === "stars") this.stars(value);
    else if (says === "clear") this.say({ says: "stars", value: 0 }, "stars taken away");
    else if (says === "tags") this.tags();
    else this.flag(says, says === "reject" ? "rejected" : "favourite");
    return true;
  }
  get compareLink() {
    const four = !this.all && this.ticked.size >= 2 && this.ticked.size <= 4;
    return four ? `/compare?pictures=${[...this.ticked.keys()].join(",")}` : null;
  }

  /** What floats above the page stands clear of the bar, however many lines it takes. */
  makeRoom() {
    const above = this.bar.hidden ? 0 : innerHeight - this.bar.getBoundingClientRect().top;
    document.body.style.setProperty("--selection-top", `${Math.ceil(above)}px`);
  }

  // -- the bar ----------------------------------------------------------------------------

  show() {
    const number = this.count;
    this.bar.hidden = number === 0;
    document.body.classList.toggle("selecting", number > 0);
    if (!number) return;
    const button = (label, act, more = {}) =>
      h("button.quiet", { type: "button", onclick: act, ...more }, label);
    const seen = this.seen;
    const flag = (label, says, name, key) =>
      button(label, () => this.flag(says, name), {
        title: key,
        "aria-pressed": String(seen.length > 0 && seen.every((row) => row[name])),
      });
    const inAlbums = [...new Set(this.seen.slice(0, 500).flatMap(albumsOf))];
    const total = this.host.total();
    const more = !this.all && (total === null || total > this.ticked.size);
    const link = this.compareLink;
    const own = selectionActions().filter(
      (one) => (isOwner || !one.ownersOnly) && number <= one.most,
    );
    const acts = [
      h(
        "div.star-row",
        { role: "group", "aria-label": "Stars" },
        [1, 2, 3, 4, 5].map((value) =>
          h(
            "button.star",
            {
              type: "button",
              "aria-label": `${value} star${value > 1 ? "s" : ""} to all selected`,
              onclick: () => this.stars(value),
            },
            "★",
          ),
        ),
      ),
      button("Tag", () => this.tags(), { title: "Tags and note (T)" }),
      isOwner &&
        button("Album", () => this.after(putIntoAlbum(this.chosen, this.seen, this.host.undone))),
      isOwner &&
        inAlbums.length === 1 &&
        button(`Out of “${inAlbums[0]}”`, () =>
          this.after(takeOutOfAlbum(this.chosen, this.seen, this.host.undone, inAlbums[0])),
        ),
      link && h("a.quiet", { href: link, id: "compare", title: "V" }, `Compare ${number}`),
      flag("Favourite", "favourite", "favourite", "F"),
      flag("Reject", "reject", "rejected", "X"),
      own.map((one) =>
        button(
          one.label,
          async () => {
            const after = await one.do(this.chosen);
            if (after?.clear) this.clear();
          },
          { title: one.title, class: one.kind, "data-action": one.name },
        ),
      ),
    ];
    put(
      this.bar,
      h(
        "div.selection-head",
        {},
        h("p.selected", { role: "status" }, `${count(number)} selected`),
        more &&
          button(
            total === null ? "All of this filter" : `All ${count(total)} of this filter`,
            () => this.everything(),
            { title: "Ctrl+A" },
          ),
      ),
      h("div.selection-acts", {}, acts),
      button("Clear", () => this.clear(), { title: "Esc", class: "quiet clear-selection" }),
    );
  }
}

/** Keys that choose; *inGrid* wraps what is for the grid only, *at* is the picture there. */
export function selectionKeys(selection, inGrid, at) {
  bind({
    choose: {
      keys: ["c"],
      label: "Select it, or not",
      do: () => {
        if (at() < 0) return false;
        selection.toggle(at());
        return undefined;
      },
    },
    chooseAll: {
      keys: ["Ctrl+a"],
      label: "Select all of this filter",
      do: inGrid(() => {
        selection.everything();
      }),
    },
    chooseNone: {
      keys: ["Escape"],
      label: "Clear the selection",
      do: inGrid(() => {
        if (!selection.count) return false;
        selection.clear();
        return undefined;
      }),
    },
    compareNow: {
      keys: ["v"],
      label: "Compare what is selected",
      do: () => {
        if (!selection.compareLink) {
          if (selection.count > 4) notice("Four pictures at most can be compared.");
          return false;
        }
        location.href = selection.compareLink;
        return undefined;
      },
    },
  });
}

export const selectionBar = () => $("#selection");
