// Rating one after the other: stars, pairs or four at once; the next pictures are loaded before.

import { bind } from "./keys.js";
import { $, ask, h, keep, kept, notice, put } from "./page.js";
import { favourite, newId, onChange, pick, ratingKeys, reject, stars, undo } from "./ratings.js";

const root = $("#rate"),
  stage = $("#stage"),
  statusLine = $("#status");
const mode = root.dataset.mode,
  fair = root.dataset.fair === "1",
  q = root.dataset.q;
let sets = [],
  at = -1,
  done = 0,
  loading = null,
  over = false;
const seen = new Set();
const order = newId();

async function load() {
  if (loading || over) return loading;
  loading = ask(
    `/api/next-to-rate?${new URLSearchParams({ mode, q, fair: fair ? "1" : "0", rater: kept("safelight.rater") })}`,
  )
    .then((told_) => {
      const fresh = told_.sets.filter(
        (set) => !set.some((row) => seen.has(row.sha256)) || mode !== "one",
      );
      for (const set of fresh) {
        for (const row of set) {
          seen.add(row.sha256);
          new Image().src = `/pictures/${row.sha256}`;
        }
      }
      sets = sets.concat(fresh);
      over = fresh.length === 0;
    })
    .catch((error) => notice(error.message))
    .finally(() => {
      loading = null;
    });
  return loading;
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
  if (!set) {
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
        h("img", {
          src: `/pictures/${set[0].sha256}`,
          alt: fair
            ? "The picture to rate; its settings are hidden"
            : `Picture of: ${set[0].prompt ?? ""}`,
        }),
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
          h("img", { src: `/pictures/${row.sha256}`, alt: "" }),
          h("kbd.key", {}, keys[place]),
          caption(row),
        ),
      ),
    );
  }
  buttons();
  statusLine.textContent = `${done} rated now`;
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
          button("Skip", "S", next),
        ]
      : [
          button("Tie", "↓", () => choose(sets[at].map((_, place) => place))),
          button("Skip", "S", () => choose([])),
        ]),
    button("Undo", "U", () => undone(undo())),
  );
}

async function next() {
  done += 1;
  at += 1;
  if (sets.length - at < 4) {
    const wait = load();
    if (!sets[at]) await wait;
  }
  show();
}
function choose(won) {
  const set = sets[at];
  if (!set || mode === "one") return;
  pick(set, won);
  next();
}
function undone(last) {
  if (!last || at < 1) return;
  at -= 1;
  done -= 1;
  show();
}

if (mode === "one") {
  bind(
    ratingKeys(() => sets[at]?.[0], next, {
      undone,
      tags: () => notice("Tags are given in Browse; here settings stay hidden."),
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
      do: () => choose(sets[at]?.map((_, place) => place) ?? []),
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
await load();
at = 0;
show();
