// Rating one after the other: stars, pairs or four at once; the next pictures are loaded before.

import { bind } from "./keys.js";
import { $, ask, h, keep, kept, listen, notice, put } from "./page.js";
import {
  favourite,
  newId,
  onChange,
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
  statusLine = $("#status");
const mode = root.dataset.mode,
  fair = root.dataset.fair === "1",
  q = root.dataset.q;
const MORE = 15; // so few left, and more are asked for: working them out takes a while
const SOON = 4; // so many are not changed any more, and their pictures are loaded whole
let sets = [],
  at = 0,
  done = 0,
  number = 0,
  loading = null,
  listening = null,
  over = false,
  inVain = 0;
const seen = new Set(),
  whole = new Map(),
  small = new Map();
const order = newId();
const nameOf = (set) =>
  set
    .map((row) => row.sha256)
    .sort()
    .join(" ");

/** Ask for more; *only* what is there already, when it was just told that it is there. */
function load(only = false) {
  if (loading || listening || over) return;
  const asked = { mode, q, fair: fair ? "1" : "0", rater: kept("safelight.rater"), after: number };
  loading = ask(`/api/next-to-rate?${new URLSearchParams(only ? { ...asked, kept: 1 } : asked)}`)
    .then(take)
    .catch(trouble)
    .finally(() => {
      loading = null;
    });
}

function take(told) {
  if (told.state === "answered") number = told.number;
  if (told.fresh && told.sets.length)
    for (const set of sets.splice(at + SOON)) seen.delete(nameOf(set)); // newer ones teach more
  const fresh = told.sets.filter((set) => !seen.has(nameOf(set)));
  for (const set of fresh) seen.add(nameOf(set));
  const waited = !sets[at];
  sets = sets.concat(fresh);
  if (told.waiting) {
    listening = listen({ answer: again }, [told.key]);
  } else over = fresh.length === 0;
  preload();
  if (waited) show();
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
  put(
    stage,
    h(
      "p.empty-text",
      {},
      error.message,
      " ",
      h("button", { type: "button", onclick: retry }, "Try again"),
    ),
  );
}

/** Load the pictures that come next whole, and small ones of those after them. */
function preload() {
  const near = sets.slice(at, at + SOON + 1).flat(),
    far = sets.slice(at + SOON + 1, at + MORE).flat();
  const loaded = (images, rows, address) => {
    const wanted = new Set(rows.map((row) => row.sha256));
    for (const digest of images.keys()) if (!wanted.has(digest)) images.delete(digest);
    for (const digest of wanted) {
      if (images.has(digest)) continue;
      const image = new Image();
      image.src = address(digest);
      images.set(digest, image);
    }
  };
  loaded(whole, near, (digest) => `/pictures/${digest}`);
  loaded(small, [...near, ...far], (digest) => `/thumbnails/${digest}?side=768`);
}

/** The picture of *row*; a small one until the whole one is there. */
function picture(row, alt) {
  const all = whole.get(row.sha256),
    some = small.get(row.sha256);
  const first = some && !all?.complete && some.complete && some.naturalWidth > 0;
  const image = h("img", { src: first ? some.src : `/pictures/${row.sha256}`, alt });
  if (first)
    all?.decode().then(
      () => {
        image.src = all.src;
      },
      () => {},
    );
  return image;
}

const CHOOSING = "Choosing what teaches most…",
  LOADING = "The picture is on its way…";

/** Dim what is there, and say what is waited for. */
function waitFor(text) {
  stage.setAttribute("aria-busy", "true");
  $("#choices").inert = true;
  stage.dataset.waits = text;
  let line = $(".empty-text", stage);
  if (!line) {
    line = h("p.empty-text", {});
    stage.append(line);
  }
  const keys = inVain === 1 ? "That key" : `${inVain} keys`;
  line.textContent = inVain ? `${text} ${keys} did nothing: there was no picture yet.` : text;
}
function arrived() {
  if (!sets[at] || [...stage.querySelectorAll("img")].some((image) => !image.complete)) return;
  inVain = 0;
  stage.removeAttribute("aria-busy");
  $("#choices").inert = false;
  $(".empty-text", stage)?.remove();
}

/** The set to rate now; without one, or before its pictures are seen, say that nothing was done. */
function current() {
  if (sets[at] && !stage.hasAttribute("aria-busy")) return sets[at];
  if (stage.hasAttribute("aria-busy")) {
    inVain += 1;
    waitFor(stage.dataset.waits);
  } else if (!$("#notices").children.length) notice("There is nothing to rate here.");
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

function show() {
  const set = sets[at];
  if (!set && !over) {
    waitFor(CHOOSING);
    return;
  }
  if (!set) {
    stage.removeAttribute("aria-busy");
    put(
      stage,
      h(
        "p.empty-text",
        {},
        done ? `Done: ${done} rated. ` : "",
        mode === "one"
          ? "Every picture here has been rated."
          : "There are no sets of pictures with one prompt and size to choose from.",
        " ",
        h("a", { href: "/" }, "Back to the pictures"),
      ),
    );
    put($("#choices"));
    statusLine.textContent = "";
    return;
  }
  if (mode === "one") {
    put(
      stage,
      h(
        "div.one",
        {},
        picture(
          set[0],
          fair
            ? "The picture to rate; its settings are hidden"
            : `Picture of: ${set[0].prompt ?? ""}`,
        ),
        caption(set[0]),
      ),
    );
  } else {
    const keys = mode === "pair" ? ["←", "→"] : ["1", "2", "3", "4"];
    put(
      stage,
      ...set.map((row, place) =>
        h(
          "button.choice",
          {
            type: "button",
            "aria-label": `${words[place]} picture is better`,
            onclick: () => choose([place]),
          },
          picture(row, ""),
          h("kbd.key", {}, keys[place]),
          caption(row),
        ),
      ),
    );
  }
  buttons();
  statusLine.textContent = `${done} rated now`;
  for (const image of stage.querySelectorAll("img")) {
    image.addEventListener("load", arrived);
    image.addEventListener("error", arrived);
  }
  waitFor(LOADING);
  arrived();
}

function buttons() {
  const row = sets[at]?.[0];
  const button = (label, key, act, pressed = null) =>
    h(
      "button.quiet",
      { type: "button", onclick: act, "aria-pressed": pressed === null ? null : String(pressed) },
      label,
      " ",
      h("kbd", {}, key),
    );
  put(
    $("#choices"),
    ...(mode === "one"
      ? [
          ...[1, 2, 3, 4, 5].map((value) =>
            h(
              "button.star",
              {
                type: "button",
                "aria-label": `${value} star${value > 1 ? "s" : ""}`,
                "aria-pressed": String((row?.stars ?? 0) >= value),
                onclick: () => {
                  stars(row, value);
                  next();
                },
              },
              "★",
            ),
          ),
          button("Favourite", "F", () => favourite(row), Boolean(row?.favourite)),
          button("Reject", "X", () => {
            reject(row);
            next();
          }),
          button("Tags", "T", () => tagIt(row)),
          button("Skip", "S", next),
        ]
      : [button("Tie", "↓", tie), button("Skip", "S", () => choose([]))]),
    button("Undo", "U", () => undone(undo())),
  );
}

async function tagIt(row) {
  const said = await askTags({ tags: row.tags, notes: row.notes });
  if (said) tag(row, said);
}

function next() {
  if (!current()) return;
  done += 1;
  at += 1;
  preload();
  show();
  if (sets.length - at < MORE) load();
}
function choose(won) {
  const set = current();
  if (!set || mode === "one") return;
  pick(set, won);
  next();
}
function tie() {
  choose(sets[at]?.map((_, place) => place) ?? []);
}
function undone(last) {
  if (!last || at < 1) return;
  at -= 1;
  done -= 1;
  show();
}

if (mode === "one") {
  bind(
    ratingKeys(() => current()?.[0], next, {
      undone,
      tags: tagIt,
    }),
  );
  bind({
    skip: {
      keys: ["s", "ArrowRight", "k"],
      label: "Skip",
      do: () => {
        next();
      },
    },
    back: {
      keys: ["ArrowLeft", "j"],
      label: "Back",
      do: () => {
        if (at > 0) {
          at -= 1;
          show();
        }
      },
    },
  });
} else {
  bind({ undo: { keys: ["Ctrl+z", "u"], label: "Undo", do: () => undone(undo()) } });
  bind({
    skip: { keys: ["s"], label: "Skip", do: () => choose([]) },
    tie: {
      keys: ["ArrowDown"],
      label: "Tie",
      do: tie,
    },
  });
  if (mode === "pair")
    bind({
      left: { keys: ["ArrowLeft"], label: "The left one is better", do: () => choose([0]) },
      right: { keys: ["ArrowRight"], label: "The right one is better", do: () => choose([1]) },
    });
  else
    for (const place of [0, 1, 2, 3])
      bind({
        [`won${place}`]: {
          keys: [String(place + 1)],
          label: `${words[place]} is best`,
          do: () => choose([place]),
        },
      });
}
const fullScreen = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen?.().catch((error) => notice(error.message));
};
bind({ fullScreen: { keys: ["z"], label: "Full screen", do: fullScreen } });
$("#full-screen").addEventListener("click", fullScreen);
$("#rater").value = kept("safelight.rater");
$("#rater").addEventListener("change", (event) =>
  keep("safelight.rater", event.target.value.trim()),
);
onChange(() => {
  if (mode === "one") buttons();
});
root.dataset.order = order;
show();
load();
