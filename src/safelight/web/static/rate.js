// Rating one after the other: stars, pairs or four at once; the next pictures are decoded before.

import { bind } from "./keys.js";
import { $, ask, h, keep, kept, listen, notice, put } from "./page.js";
import { PicturesAhead } from "./pictures_ahead.js";
import {
  favourite,
  newId,
  onChange,
  passOver,
  pick,
  ratingKeys,
  reject,
  stars,
  tag,
  undo,
} from "./ratings.js";
import { askTags } from "./tag_dialog.js";

const root = $("#rate"),
  stage = $("#stage"),
  choices = $("#choices"),
  statusLine = $("#status");
const mode = root.dataset.mode,
  fair = root.dataset.fair === "1",
  q = root.dataset.q;
const MORE = 15; // so few left, and more are asked for: working them out takes a while
const NEAR = 3; // so many are loaded whole as soon as somebody stays with one
const KEPT_MS = 1000; // of pictures that come next, newer choices leave as many as this takes
const AGAIN_MS = 300;
const LATER = [3, 10]; // to who rates slowly, and to who rates fast
let sets = [], // {rows, outcome: "rated" or "skipped" once it is left}
  at = 0,
  number = 0,
  loading = null,
  listening = null,
  over = false,
  dry = false, // no more come by chance
  inVain = 0,
  lastKey = 0;
const known = new Set(); // names of all sets that were here
const order = newId();
const nameOf = (rows) =>
  rows
    .map((row) => row.sha256)
    .sort()
    .join(" ");
const ahead = new PicturesAhead(arrived);

// -- what comes next ---------------------------------------------------------------------

/** Ask for more; *only* what is there already, when it was just told that it is there. */
function load(only = false) {
  if (loading || over || (listening && dry)) return;
  const asked = {
    mode,
    q,
    fair: fair ? "1" : "0",
    rater: kept("safelight.rater"),
    after: number,
    meanwhile: 1, // pictures by chance are better than none
    ...(only && { kept: 1 }),
  };
  loading = ask(`/api/next-to-rate?${new URLSearchParams(asked)}`)
    .then(take)
    .catch(trouble)
    .finally(() => {
      loading = null;
    });
}

function take(told) {
  const chosen = told.state === "answered";
  if (chosen) number = told.number;
  if (chosen && told.fresh && told.sets.length) {
    const near = LATER[performance.now() - lastKey < KEPT_MS ? 1 : 0];
    for (const set of sets.splice(at + near)) known.delete(nameOf(set.rows)); // these teach more
  }
  const fresh = told.sets.filter((rows) => !known.has(nameOf(rows)));
  dry = !chosen && fresh.length === 0;
  for (const rows of fresh) known.add(nameOf(rows));
  sets = sets.concat(fresh.map((rows) => ({ rows, outcome: "" })));
  if (told.waiting) {
    listening ??= listen({ answer: again }, [told.key]);
  } else if (!fresh.length) {
    // What was here already says that nothing is left only when nothing was said since.
    over = !told.sets.length || (!sets[at] && told.fresh);
    if (!over && !sets[at]) setTimeout(load, AGAIN_MS);
  }
  preload();
  if (stage.hasAttribute("aria-busy")) show();
}

function again() {
  listening?.close();
  listening = null;
  load(true);
}

function trouble(error) {
  if (sets[at]) {
    notice(error.message);
    return;
  }
  const retry = () => {
    waitFor(CHOOSING);
    load();
  };
  stage.removeAttribute("aria-busy");
  const text = error.message.replace(/^./, (letter) => letter.toUpperCase());
  // What was asked stays wrong however often it is asked again.
  if (error.status === 400)
    say(`${text}.`, h("a", { href: `/?${new URLSearchParams({ q })}` }, "Change the filter"));
  else say(text, h("button", { type: "button", onclick: retry }, "Try again"));
}

const preload = () =>
  ahead.want(
    sets.slice(at, at + MORE).flatMap((set) => set.rows),
    NEAR * (sets[at]?.rows.length ?? 1),
  );

// -- what is shown -----------------------------------------------------------------------

const CHOOSING = "Choosing what teaches most…",
  LOADING = "The picture is on its way…";

/** Dim what is there, and say what is waited for. */
function waitFor(text) {
  stage.setAttribute("aria-busy", "true");
  choices.inert = true;
  stage.dataset.waits = text;
  let line = $(".empty-text", stage);
  if (!line) {
    line = h("p.empty-text", {});
    stage.append(line);
  }
  const keys = inVain === 1 ? "That key" : `${inVain} keys`;
  line.textContent = inVain ? `${text} ${keys} did nothing: there was no picture yet.` : text;
}

/** A picture has come: the one that is waited for, or the whole one in place of a small one. */
function arrived() {
  const set = sets[at];
  if (!set) return;
  if (stage.hasAttribute("aria-busy")) {
    show();
    return;
  }
  for (const frame of stage.querySelectorAll("[data-digest]")) {
    const row = set.rows.find((one) => one.sha256 === frame.dataset.digest);
    const better = row && ahead.element(row),
      now = $("img", frame);
    if (better && now && better !== now) {
      better.alt = now.alt;
      now.replaceWith(better);
    }
  }
}

/** The set to rate now; without one, or before its pictures are seen, say that nothing was done. */
function current() {
  if (sets[at] && !stage.hasAttribute("aria-busy")) {
    lastKey = performance.now();
    return sets[at];
  }
  if (stage.hasAttribute("aria-busy")) {
    inVain += 1;
    waitFor(stage.dataset.waits);
  } else if (!$("#notices").children.length) notice("There is nothing to rate here.");
  return null;
}

/** The same, of which something can be said: a picture that cannot be shown is skipped only. */
function judged() {
  const set = current();
  if (!set?.rows.some((row) => ahead.failed(row) && !ahead.element(row))) return set;
  notice("Nobody can judge what cannot be shown. Skip it.");
  return null;
}

const caption = (row) =>
  fair || row.prompt === undefined
    ? null
    : h(
        "span.caption",
        {},
        [
          row.prompt,
          row.model,
          row.sampler,
          row.steps && `${row.steps} steps`,
          row.cfg_scale && `cfg ${row.cfg_scale}`,
        ]
          .filter(Boolean)
          .join(" · "),
      );
const words = ["First", "Second", "Third", "Fourth"];

function picture(row, alt) {
  const image = ahead.element(row);
  if (!image) return h("p.empty-text", {}, "This picture cannot be shown.");
  image.alt = alt;
  return image;
}

const say = (...told) =>
  put(
    stage,
    h(
      "p.empty-text",
      {},
      told.flatMap((part) => [part, " "]),
    ),
  );
const counted = (outcome) => sets.reduce((n, set) => n + (set.outcome === outcome), 0);

function nothingLeft() {
  const done = counted("rated"),
    skipped = counted("skipped");
  stage.removeAttribute("aria-busy");
  choices.hidden = true;
  statusLine.textContent = "";
  if (skipped) {
    const them = skipped === 1 ? "the one that you skipped" : `the ${skipped} that you skipped`;
    say(
      done ? `Done: ${done} rated.` : "",
      `Nothing is left but ${them}.`,
      h("button.quiet", { type: "button", onclick: showSkipped }, "Show again"),
      h("a", { href: "/" }, "Back to the pictures"),
    );
    return;
  }
  const toPictures = h("a", { href: "/" }, "Back to the pictures");
  say(
    done ? `Done: ${done} rated.` : "",
    mode === "one"
      ? "Every picture here has been rated."
      : "There are no more sets of pictures to choose from.",
    toPictures,
  );
  if (!done)
    ask(`/api/pictures?${new URLSearchParams({ q, limit: 1 })}`).then(
      (page) => {
        if (page.rows.length || sets.length) return;
        say(q ? "No picture meets this filter." : "There are no pictures here yet.", toPictures);
      },
      () => {}, // that nobody answers is said over the page
    );
}

function showSkipped() {
  const skipped = sets.filter((set) => set.outcome === "skipped");
  sets = [...sets.filter((set) => set.outcome !== "skipped"), ...skipped];
  at = sets.length - skipped.length;
  for (const set of skipped) set.outcome = "";
  preload();
  show();
}

function show() {
  const set = sets[at];
  if (!set) {
    if (over) nothingLeft();
    else waitFor(CHOOSING);
    return;
  }
  choices.hidden = false;
  if (!set.rows.every((row) => ahead.element(row) || ahead.failed(row))) {
    tellCount();
    waitFor(LOADING);
    return;
  }
  inVain = 0;
  stage.removeAttribute("aria-busy");
  choices.inert = false;
  if (mode === "one") {
    const [row] = set.rows;
    const alt = fair
      ? "The picture to rate; its settings are hidden"
      : `Picture of: ${row.prompt ?? ""}`;
    put(stage, h("div.one", { "data-digest": row.sha256 }, picture(row, alt), caption(row)));
  } else {
    const keys = mode === "pair" ? ["←", "→"] : ["1", "2", "3", "4"];
    put(
      stage,
      ...set.rows.map((row, place) =>
        h(
          "button.choice",
          {
            type: "button",
            "aria-label": `${words[place]} picture is better`,
            "data-digest": row.sha256,
            onclick: () => choose([place]),
          },
          picture(row, ""),
          h("kbd.key", {}, keys[place]),
          caption(row),
        ),
      ),
    );
  }
  tellCount();
  press();
}

function tellCount() {
  const skipped = counted("skipped");
  statusLine.textContent = `${counted("rated")} rated now${skipped ? `, ${skipped} skipped` : ""}`;
}

// -- what is done ------------------------------------------------------------------------

async function tagIt(row) {
  const said = await askTags({ tags: row.tags, notes: row.notes });
  if (said) tag(row, said);
}

function next(outcome) {
  const [row] = sets[at].rows;
  const cleared = outcome === "rated" && mode === "one" && !row.stars && !row.rejected;
  sets[at].outcome = cleared ? "" : outcome;
  at += 1;
  preload();
  show();
  if (sets.length - at < MORE) load();
}
/** Go on; what nothing was said of is kept as passed over. */
function skip() {
  const set = current();
  if (!set) return;
  if (mode !== "one") pick(set.rows, []);
  else if (!set.outcome && !set.rows[0].stars && !set.rows[0].rejected) passOver(set.rows);
  next(set.outcome || "skipped");
}
function choose(won) {
  const set = judged();
  if (!set || mode === "one") return;
  pick(set.rows, won);
  next("rated");
}
const tie = () => choose(sets[at]?.rows.map((_, place) => place) ?? []);
function back() {
  if (at < 1) {
    notice("This is the first picture.");
    return;
  }
  at -= 1;
  inVain = 0;
  preload();
  show();
}
/** Go to where *last* was said, which was just taken back. */
function undone(last) {
  const place = sets.findIndex((set) => set.rows === last?.shown || set.rows.includes(last?.row));
  if (place < 0) return;
  const [row] = sets[place].rows;
  sets[place].outcome = mode === "one" && (row.stars || row.rejected) ? "rated" : "";
  at = place;
  preload();
  show();
}
const rate = (act) => () => {
  const row = judged()?.rows[0];
  if (!row) return;
  act(row);
  next("rated");
};
const mark = (act) => () => {
  const row = judged()?.rows[0];
  if (row) act(row);
};

const button = (label, key, act, more = {}) =>
  h("button.quiet", { type: "button", onclick: act, ...more }, label, " ", h("kbd", {}, key));
const starButtons =
  mode === "one"
    ? [1, 2, 3, 4, 5].map((value) =>
        h(
          "button.star",
          {
            type: "button",
            "aria-label": `${value} star${value > 1 ? "s" : ""}`,
            onclick: rate((row) => stars(row, value)),
          },
          "★",
        ),
      )
    : [];
const favouriteButton = button("Favourite", "F", mark(favourite));
const rejectButton = button("Reject", "X", rate(reject));
put(
  choices,
  mode === "one" && [
    h(
      "div.star-row",
      { role: "group", "aria-label": "Stars" },
      starButtons,
      h("kbd", { "aria-hidden": "true" }, "1–5"),
    ),
    rejectButton,
    favouriteButton,
    button("Tags", "T", mark(tagIt)),
  ],
  mode !== "one" && button("Tie", "↓", tie),
  button("Skip", "S", skip),
  button("Back", mode === "one" ? "←" : "J", back),
  button("Undo", "U", () => undone(undo())),
);
/** Show on the buttons what is said of the picture. */
function press() {
  const row = sets[at]?.rows[0];
  for (const [place, star] of starButtons.entries())
    star.setAttribute("aria-pressed", String((row?.stars ?? 0) > place));
  favouriteButton.setAttribute("aria-pressed", String(Boolean(row?.favourite)));
  rejectButton.setAttribute("aria-pressed", String(Boolean(row?.rejected)));
}

if (mode === "one") {
  bind(
    ratingKeys(
      () => judged()?.rows[0],
      () => next("rated"),
      { undone, tags: tagIt },
    ),
  );
  bind({
    skip: { keys: ["s", "ArrowRight", "k"], label: "Skip", once: true, do: skip },
    back: { keys: ["ArrowLeft", "j"], label: "Back", do: back },
  });
} else {
  const picks = (keys, label, act) => ({ keys, label, once: true, do: act });
  bind({
    undo: picks(["Ctrl+z", "u"], "Undo", () => undone(undo())),
    skip: picks(["s", "k"], "Skip", skip),
    back: { keys: ["j"], label: "Back", do: back },
    tie: picks(["ArrowDown"], "Tie", tie),
  });
  if (mode === "pair")
    bind({
      left: picks(["ArrowLeft"], "The left one is better", () => choose([0])),
      right: picks(["ArrowRight"], "The right one is better", () => choose([1])),
    });
  else
    for (const place of [0, 1, 2, 3])
      bind({
        [`won${place}`]: picks([String(place + 1)], `${words[place]} is best`, () =>
          choose([place]),
        ),
      });
}
const fullScreen = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen?.().catch((error) => notice(error.message));
};
bind({
  fullScreen: { keys: ["z"], label: "Full screen", do: fullScreen },
  hideSettings: {
    keys: ["i"],
    label: fair ? "Show settings" : "Hide settings",
    do: () => $("#fair").click(),
  },
});
$("#full-screen").addEventListener("click", fullScreen);

// A finger that wipes goes on, or back, as in the view of one picture.
let wipe = null;
const WIPE = 60; // pixels
if (mode === "one") {
  stage.addEventListener(
    "touchstart",
    (event) => {
      wipe = event.touches.length === 1 ? event.touches[0] : null;
    },
    { passive: true },
  );
  stage.addEventListener("touchend", (event) => {
    if (!wipe) return;
    const far = event.changedTouches[0].clientX - wipe.clientX,
      down = event.changedTouches[0].clientY - wipe.clientY;
    wipe = null;
    if (Math.abs(far) < WIPE || Math.abs(down) > Math.abs(far)) return;
    if (far < 0) skip();
    else back();
  });
}

const rater = $("#rater");
rater.value = kept("safelight.rater");
rater.addEventListener("change", () => {
  keep("safelight.rater", rater.value.trim());
  // Somebody else has rated and seen other pictures.
  for (const set of sets.splice(at + 1)) known.delete(nameOf(set.rows));
  listening?.close();
  listening = null;
  number = 0;
  over = false;
  dry = false;
  load();
});
rater.addEventListener("keydown", (event) => {
  if (event.key === "Enter") rater.blur(); // keys rate again
});
onChange(() => press());
root.dataset.order = order;
waitFor(CHOOSING);
load();
