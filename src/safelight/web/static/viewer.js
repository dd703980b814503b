// One picture, full screen, with everything that is known about it.
import { albumFilter, albumsOf } from "./albums.js";
import { dragFile } from "./hand_over.js";
import { $, ask, h, icon, isAway, keep, kept, notice, put } from "./page.js";
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
import { showSettings, skeleton } from "./settings_panel.js";
import { askTags, wordsOf } from "./tag_dialog.js";
import { Zoom } from "./zoom.js";

const short = (digest) => digest.slice(0, 12);

const AHEAD = [1, 2, 3, 4, 5, 6, -1]; // steps to pictures that are loaded before they are shown

export class Viewer {
  /** Host: {move(step) -> sha256 or null, close() or null, link(sha256) -> URL, rowOf(sha256),
   * keepsZoom whether the next picture is seen through the same frame}. */
  constructor(root, host) {
    this.root = root;
    this.host = host;
    this.picture = null;
    this.before = null;
    this.asked = 0;
    this.known = new Map();
    this.kin = new Map();
    this.digest = null;
    this.moving = 0;
    this.seenBefore = null; // in the grid, say
    this.ahead = new PicturesAhead(() => this.whole());
    this.image = h("img.zoomed", { alt: "", draggable: "true", decoding: "sync" });
    // What the browser has at once stands there until the picture has come.
    this.under = h("img.under", { alt: "", "aria-hidden": "true" });
    this.told = h("p.pane-told", { role: "status" });
    this.pane = h("div.pane.veilable", {}, this.under, this.image, this.told);
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
    this.zoom = new Zoom(this.pane, () => [this.image, this.under]);
    this.image.addEventListener("load", () => {
      this.under.hidden = true;
      put(this.told);
      this.zoom.show();
    });
    this.image.addEventListener("error", () => this.cannotShow());
    this.under.addEventListener("error", () => this.under.removeAttribute("src"));
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
    this.under.hidden = Boolean(ready);
    if (!ready) this.under.src = `/thumbnails/${digest}?side=384`;
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
    put(this.told);
    this.showPicture(digest);
    if (this.host.keepsZoom) this.zoom.show();
    else this.zoom.fit();
    this.info.setAttribute("aria-busy", "true");
    if (!this.picture) put(this.info, skeleton());
    let picture;
    try {
      picture = given ?? { ...(await this.load(digest)) };
    } catch (error) {
      if (number !== this.asked) return;
      // No broken picture in place of the line that says why, and no settings of another one.
      this.image.removeAttribute("src");
      this.image.alt = error.message;
      this.picture = null;
      put(this.info, h("p.fault", {}, error.message));
      this.info.removeAttribute("aria-busy");
      put(this.told, error.message);
      if (!isAway(error)) notice(error.message);
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
    this.info.removeAttribute("aria-busy");
    this.showInfo();
    for (const step of [1, -1]) {
      const near = await this.host.peek?.(step);
      if (near) {
        if (!this.host.nearRow) new Image().src = `/pictures/${near}`;
        this.load(near).catch(() => {});
      }
    }
  }
  /** Say why there is no picture, unless that it is on its way is all there is to say. */
  async cannotShow() {
    const digest = this.digest;
    if (!digest || !this.image.src.endsWith(digest)) return;
    this.image.removeAttribute("src");
    try {
      this.known.delete(digest);
      await this.load(digest);
      put(this.told, "The file of this picture is not where it was, or cannot be read.");
    } catch (error) {
      put(this.told, error.message);
    }
  }
  /** What compares with a picture: asked once. */
  kindredOf(digest) {
    if (!this.kin.has(digest)) {
      const asked = ask(`/api/pictures/${digest}/kindred`);
      asked.catch(() => this.kin.delete(digest));
      this.kin.set(digest, asked);
      if (this.kin.size > 50) this.kin.delete(this.kin.keys().next().value);
    }
    return this.kin.get(digest);
  }
  /** Show the same picture as it is now. */
  async again() {
    const { sha256 } = this.picture;
    this.known.delete(sha256);
    await this.show(sha256);
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
      wordsOf(p.tags).map((one) => link(one, `tag = '${one.replaceAll("'", "''")}'`)),
      albumsOf(p).map((one) => link(`Album: ${one}`, albumFilter(one))),
      edit,
      p.notes ? h("p.note", {}, p.notes) : null,
    );
  }
  showInfo() {
    showSettings(this, this.info);
    this.showSaid();
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
