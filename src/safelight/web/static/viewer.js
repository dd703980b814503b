// One picture, full screen, with everything that is known about it.
import { albumFilter, albumsOf } from "./albums.js";
import { dragFile } from "./hand_over.js";
import { $, ask, h, icon, isAway, isOwner, keep, kept, notice, put } from "./page.js";
import { PicturesAhead } from "./pictures_ahead.js";
import {
  favourite,
  goesOn,
  onChange,
  overlay,
  reject,
  stars,
  starText,
  tag,
  toggleGoingOn,
  undo,
} from "./ratings.js";
import { askTags, wordsOf } from "./tag_dialog.js";
import { discard } from "./trash.js";
import { Zoom } from "./zoom.js";

const short = (digest) => digest.slice(0, 12);

const AHEAD = [1, 2, 3, 4, 5, 6, -1]; // steps to pictures that are loaded before they are shown

const LEARNED = {
  defaulted: "The file leaves it out, by which its tool means this value",
  unresolved: "The file does not tell it in a way that can be followed",
  conflicting: "Two places in the file disagree",
};

export class Viewer {
  /** Host: {move(step) -> sha256 or null, close() or null, link(sha256) -> URL, rowOf(sha256)}. */
  constructor(root, host) {
    this.root = root;
    this.host = host;
    this.picture = null;
    this.before = null;
    this.asked = 0;
    this.known = new Map();
    this.digest = null;
    this.moving = 0;
    this.seenBefore = null; // in the grid, say
    this.ahead = new PicturesAhead(() => this.whole());
    this.image = h("img.zoomed", { alt: "", draggable: "true", decoding: "sync" });
    this.pane = h("div.pane.veilable", {}, this.image);
    this.info = h("aside.info", { "aria-label": "Settings" });
    this.stars = h("div.star-row", { role: "group", "aria-label": "Rate" });
    const button = (label, text, act, more = {}) =>
      h(
        "button.icon",
        { type: "button", title: label, "aria-label": label, onclick: act, ...more },
        text,
      );
    this.infoButton = button("Settings (I)", icon("info"), () => this.toggleInfo(), {
      "aria-pressed": "false",
    });
    this.goOnButton = button("Go on after rating, or stay (A)", icon("goOn"), () => {
      toggleGoingOn();
      this.showGoingOn();
    });
    this.showGoingOn();
    this.bar = h(
      "div.viewer-bar",
      {},
      host.close && button("Back to the grid (Esc)", icon("back"), () => host.close()),
      button("Previous (J)", icon("previous"), () => this.move(-1)),
      button("Next (K)", icon("next"), () => this.move(1)),
      this.stars,
      button("Tags and note (T)", icon("tag"), () => this.askTags()),
      button("Undo (U)", icon("undo"), () => {
        const last = undo();
        this.host.undone?.(last);
      }),
      this.goOnButton,
      button("Zoom (Space)", icon("zoom"), () => this.zoom.toggle()),
      this.infoButton,
      button("Full screen (Z)", icon("full"), () => this.fullScreen(), {
        class: "icon full-screen",
      }),
    );
    root.replaceChildren(this.bar, h("div.viewer-body", {}, this.pane, this.info));
    this.zoom = new Zoom(this.pane, () => [this.image]);
    this.image.addEventListener("dragstart", (event) => {
      if (this.zoom.scale > 1) {
        event.preventDefault();
        return;
      }
      dragFile(event, this.picture.sha256, this.picture.file_name);
    });
    let from = null;
    this.pane.addEventListener(
      "touchstart",
      (event) => {
        from =
          event.touches.length === 1 && this.zoom.scale === 1 ? event.touches[0].clientX : null;
      },
      { passive: true },
    );
    this.pane.addEventListener("touchend", (event) => {
      if (from === null) return;
      const far = event.changedTouches[0].clientX - from;
      if (Math.abs(far) > 60) this.move(far < 0 ? 1 : -1);
    });
    onChange((row) => {
      if (this.picture?.sha256 === row.sha256) this.adopt(row);
      if (this.picture && row.sha256 === this.digest) this.showStars();
    });
    if (kept("safelight.info", matchMedia("(min-width: 56rem)").matches ? "1" : "0") === "1")
      this.toggleInfo(true);
  }
  get row() {
    return this.picture;
  }
  adopt(row) {
    for (const name of ["stars", "rejected", "favourite", "tags", "notes", "album"])
      if (name in row) this.picture[name] = row[name];
  }
  async load(digest) {
    if (!this.known.has(digest))
      this.known.set(
        digest,
        ask(`/api/pictures/${digest}`).catch((error) => {
          this.known.delete(digest);
          throw error;
        }),
      );
    if (this.known.size > 50) this.known.delete(this.known.keys().next().value);
    return this.known.get(digest);
  }
  /** Show the picture *digest*: at once where it was loaded before, small at first if need be. */
  showPicture(digest) {
    this.digest = digest;
    const row = this.host.rowOf?.(digest) ?? { sha256: digest };
    const ready = this.ahead.element(row);
    const source = ready?.getAttribute("src") ?? `/pictures/${digest}`;
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    const near = AHEAD.map((step) => this.host.nearRow?.(step)).filter(Boolean);
    this.ahead.want(ready ? [row, ...near] : near, 2);
    if (this.picture && this.host.rowOf?.(digest)) this.showStars();
  }
  /** A whole picture has come in place of the small one that is shown. */
  whole() {
    const ready = this.digest && this.ahead.element({ sha256: this.digest });
    const source = ready?.getAttribute("src");
    if (source && this.image.getAttribute("src") !== source) this.image.src = source;
  }
  /** Whether the picture that is asked for is the one on the screen. */
  get isThere() {
    return this.image.complete && this.image.naturalWidth > 0;
  }
  /** The row to rate; null, and a line that says so, while its picture is not there to be seen. */
  ratable() {
    const own = this.picture?.sha256 === this.digest ? this.picture : null,
      row = this.host.rowOf?.(this.digest) ?? own;
    if (row && !this.moving && (this.isThere || this.seenBefore === this.digest)) return row;
    notice("Nothing was said: the picture was not there yet.");
    return null;
  }
  async show(digest, given = null) {
    const number = ++this.asked;
    this.showPicture(digest);
    this.zoom.fit();
    let picture;
    try {
      picture = given ?? { ...(await this.load(digest)) };
    } catch (error) {
      if (!isAway(error)) notice(error.message);
      this.image.removeAttribute("src"); // no broken picture in place of the line that says why
      this.image.alt = error.message;
      return;
    }
    if (number !== this.asked) return;
    overlay([picture]);
    const row = this.host.rowOf?.(digest);
    if (row) {
      for (const name of ["stars", "rejected", "favourite", "tags", "notes", "album"])
        picture[name] = row[name];
    }
    this.before = this.picture && this.picture.sha256 !== digest ? this.picture : this.before;
    this.picture = picture;
    this.image.alt = picture.prompt
      ? `Picture of: ${picture.prompt.slice(0, 300)}`
      : "Picture without a prompt";
    document.title = `${picture.name || short(digest)} · safelight`;
    this.showStars();
    this.showInfo();
    for (const step of [1, -1]) {
      const near = await this.host.peek?.(step);
      if (near) {
        if (!this.host.nearRow) new Image().src = `/pictures/${near}`;
        this.load(near).catch(() => {});
      }
    }
  }
  async move(step) {
    this.moving += 1;
    const digest = await this.host.move(step).finally(() => {
      this.moving -= 1;
    });
    if (digest) this.show(digest);
    else notice(step > 0 ? "This is the last picture." : "This is the first picture.");
  }
  toggleInfo(on = this.info.hidden || !this.root.classList.contains("with-info")) {
    this.root.classList.toggle("with-info", on);
    this.infoButton.setAttribute("aria-pressed", String(on));
    keep("safelight.info", on ? "1" : "0");
  }
  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch((error) => notice(error.message));
  }
  showStars() {
    const row = this.host.rowOf?.(this.digest) ?? this.picture;
    const say = (act, goOn) => () => {
      const target = this.ratable();
      if (!target) return;
      act(target);
      if (goOn) this.host.rated?.();
    };
    const star = (value) =>
      h(
        "button.star",
        {
          type: "button",
          "aria-label": `${value} star${value > 1 ? "s" : ""}`,
          "aria-pressed": String(Math.round(row.stars || 0) >= value),
          onclick: say((target) => stars(target, value), true),
        },
        "★",
      );
    this.stars.replaceChildren(
      ...[1, 2, 3, 4, 5].map(star),
      h(
        "button.flag",
        {
          type: "button",
          "aria-label": "Favourite",
          "aria-pressed": String(Boolean(row.favourite)),
          onclick: say(favourite, false),
        },
        "♥",
      ),
      h(
        "button.flag",
        {
          type: "button",
          "aria-label": "Reject",
          "aria-pressed": String(Boolean(row.rejected)),
          onclick: say(reject, true),
        },
        "✕",
      ),
    );
    this.root.classList.toggle("is-rejected", Boolean(row.rejected));
    if ($(".said", this.info)) this.showSaid();
  }
  showGoingOn() {
    this.goOnButton.setAttribute("aria-pressed", String(goesOn()));
  }
  async askTags(given = null) {
    const row = given ?? this.host.rowOf?.(this.picture?.sha256) ?? this.picture;
    if (!row) return; // it is on its way
    const said = await askTags({ tags: row.tags, notes: row.notes });
    if (said) tag(row, said);
  }
  showSaid() {
    const p = this.picture;
    const edit = h(
      "button.quiet",
      { type: "button", title: "Tags and note (T)", onclick: () => this.askTags() },
      p.tags || p.notes ? "Change" : "Add tags or a note",
    );
    const link = (name, q) => h("a.chip", { href: `/?${new URLSearchParams({ q })}` }, name);
    put(
      $(".said", this.info),
      wordsOf(p.tags).map((one) => link(one, `tags has '${one.replaceAll("'", "''")}'`)),
      albumsOf(p).map((one) => link(`Album: ${one}`, albumFilter(one))),
      edit,
      p.notes ? h("p.note", {}, p.notes) : null,
    );
  }
  async showInfo() {
    const p = this.picture;
    const fact = (name, value) =>
      value === null || value === undefined || value === ""
        ? null
        : h("div", {}, h("dt", {}, name), h("dd", {}, String(value)));
    const knobs = p.knobs.map((one) =>
      h(
        one.mismatch ? "tr.mismatch" : "tr",
        {},
        h("th", { scope: "row" }, one.knob),
        h("td", {}, one.requested),
        h(
          "td",
          {},
          one.effective,
          one.mismatch &&
            h(
              "span.badge",
              { title: "The engine used another value than it was asked for" },
              "differs",
            ),
          one.others.map((other) => h("div.quiet-text", {}, `or ${other}`)),
          one.learned !== "read" && h("span.badge", { title: LEARNED[one.learned] }, one.learned),
        ),
      ),
    );
    const table = h(
      "table.knobs",
      {},
      h("caption.hidden", {}, "Settings, requested and effective"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "setting"),
          h("th", { scope: "col" }, "requested"),
          h("th", { scope: "col" }, "effective"),
        ),
      ),
      h("tbody", {}, knobs),
    );
    const thumb = (digest, label) =>
      h(
        "a.kin",
        { href: this.host.link(digest) },
        h("img.veiled", { src: `/thumbnails/${digest}?side=192`, alt: label }),
        h("span", {}, label),
      );
    const kin = [
      p.parent && thumb(p.parent, "made from"),
      ...p.children.map((one) => thumb(one.sha256, `${one.stage} ${one.width} × ${one.height}`)),
    ].filter(Boolean);
    const copy = h(
      "button.quiet",
      { type: "button", onclick: () => this.copyParameters() },
      "Copy as A1111 text",
    );
    const raw = h(
      "details.raw",
      {
        ontoggle: async (event) => {
          const box = event.target;
          if (!box.open || box.dataset.read) return;
          box.dataset.read = "1";
          try {
            const { texts } = await ask(`/api/pictures/${p.sha256}/metadata`);
            for (const [key, value] of Object.entries(texts))
              box.append(h("h3", {}, key), h("pre", { tabindex: "0" }, value));
            if (!Object.keys(texts).length)
              box.append(h("p", {}, "The file says nothing of itself."));
          } catch (error) {
            box.append(h("p.fault", {}, error.message));
          }
        },
      },
      h("summary", {}, "Raw metadata"),
    );
    const changes = h("div.changes", {});
    const list = (values) =>
      Object.entries(values).map(([key, value]) =>
        fact(key, typeof value === "string" ? value : JSON.stringify(value)),
      );
    put(
      this.info,
      h("p.prompt", {}, p.prompt ?? "(no prompt)"),
      p.negative_prompt ? h("p.negative", {}, p.negative_prompt) : null,
      h(
        "p.actions",
        {},
        h(
          "a.quiet",
          { href: `/pictures/${p.sha256}?download`, download: p.file_name },
          "Save file",
        ),
        copy,
        isOwner && h("a.quiet", { href: `/runs/new?like=${p.sha256}` }, "Run again with changes"),
        isOwner &&
          p.has_file &&
          h(
            "button.quiet",
            {
              type: "button",
              onclick: () => discard({ sha256s: [p.sha256] }, () => this.host.discarded?.()),
            },
            "Move to trash…",
          ),
      ),
      h("div.said", {}),
      changes,
      h("h2", {}, "Settings"),
      table,
      p.scores?.length ? h("h2", {}, "Scores by programs") : null,
      h(
        "dl.facts.scores",
        {},
        (p.scores ?? []).map((one) => fact(one.scorer, `${one.number} (${one.unit})`)),
      ),
      Object.keys(p.templates).length || p.label ? h("h2", {}, "Template") : null,
      h("dl.facts", {}, fact("chosen", p.label), list(p.choices), list(p.templates)),
      kin.length ? h("h2", {}, "Lineage") : null,
      h("div.kins", {}, kin),
      h("h2", {}, "Picture"),
      h(
        "dl.facts",
        {},
        fact("size", `${p.width} × ${p.height}`),
        fact("made", p.timestamp?.slice(0, 19).replace("T", " ")),
        fact("took", p.seconds ? `${p.seconds.toFixed(2)} s` : null),
        fact("run", p.run_id),
        fact("status", p.status),
        fact("SHA-256", short(p.sha256)),
        list(p.backend),
        list(p.environment),
      ),
      p.warnings.length
        ? h(
            "ul.reasons",
            {},
            p.warnings.map((one) => h("li", {}, one)),
          )
        : null,
      raw,
    );
    this.showSaid();
    if (this.before && this.before.sha256 !== p.sha256) {
      const was = new Map(this.before.knobs.map((one) => [one.knob, one.effective]));
      const here = new Map(p.knobs.map((one) => [one.knob, one.effective]));
      const names = [...new Set([...was.keys(), ...here.keys()])].filter(
        (name) => was.get(name) !== here.get(name),
      );
      put(
        changes,
        h("h2", {}, "Changed from the previous picture"),
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
                  h("del", {}, was.get(name) ?? "(not there)"),
                  " → ",
                  h("ins", {}, here.get(name) ?? "(not there)"),
                ),
              ),
            )
          : h("p.quiet-text", {}, "Nothing but the picture."),
      );
    }
  }
  async copyParameters() {
    try {
      await navigator.clipboard.writeText(this.picture.parameters);
      notice("Copied.");
    } catch {
      const field = h(
        "textarea",
        { readonly: true, rows: "8", "aria-label": "A1111 text" },
        this.picture.parameters,
      );
      const dialog = h(
        "dialog",
        { "aria-label": "A1111 text" },
        field,
        h("form", { method: "dialog" }, h("button", {}, "Close")),
      );
      dialog.addEventListener("close", () => dialog.remove());
      document.body.append(dialog);
      dialog.showModal();
      field.select();
    }
  }
}

export const viewerKeys = (viewer, seen) => {
  const on = (act) => () => (seen() ? act() : false);
  return {
    viewNext: {
      keys: ["ArrowRight", "k"],
      label: "Next picture",
      do: on(() => {
        viewer.move(1);
      }),
    },
    viewPrevious: {
      keys: ["ArrowLeft", "j"],
      label: "Previous picture",
      do: on(() => {
        viewer.move(-1);
      }),
    },
    zoom: {
      keys: [" "],
      label: "Zoom in and out",
      do: on(() => {
        viewer.zoom.toggle();
      }),
    },
    info: {
      keys: ["i"],
      label: "Settings",
      do: on(() => {
        viewer.toggleInfo();
      }),
    },
    fullScreen: {
      keys: ["z"],
      label: "Full screen",
      do: on(() => {
        viewer.fullScreen();
      }),
    },
    close: {
      keys: ["Escape"],
      label: "Back to the grid",
      do: on(() => {
        if (document.fullscreenElement) return false;
        viewer.host.close?.();
        return undefined;
      }),
    },
  };
};
export { starText };
