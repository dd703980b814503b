// Runs: what goes on now, whoever started it, how it is doing, and why something failed.
import { $, count, duration, first, h, listen, notice, put, send } from "./page.js";
import "./keys.js";
import "./ratings.js";

const box = $("#queue");
const MARKS = ["completed", "partial", "failed", "cancelled"];
const WORDS = {
  waiting: "waiting",
  running: "drawing",
  drawing: "drawing",
  stopping: "stopping",
  silent: "nothing comes",
  stopped: "cut off",
  completed: "completed",
  partial: "completed in part",
  failed: "failed",
  cancelled: "stopped",
};
const MOST_ENDED = 3;
let number = 0;
let { runs: queue, live, archive: seen } = first();

const pictures = (size) => `${count(size)} picture${size === 1 ? "" : "s"}`;
const mark = (status) =>
  h(
    "span",
    { class: `mark-${MARKS.includes(status) ? status : "other"}` },
    WORDS[status] ?? status,
  );

/** How a run does, as short facts: speed, time left, failures, where. */
const facts = (one) => [
  one.per_minute !== null && `${one.per_minute.toLocaleString("en")} a minute`,
  one.seconds_left !== null && `${duration(one.seconds_left)} left`,
  one.failed > 0 && `${count(one.failed)} failed`,
  one.host && `on ${one.host}${one.process ? `, process ${one.process}` : ""}`,
];

/** What is known of a run that goes on, told by its journal. */
function told(one, progress = null) {
  const within = progress?.steps ? progress.step / progress.steps : 0;
  return [
    h("p.live-facts", {}, [
      mark(progress?.status ?? one.state),
      h("b", {}, `${count(one.done)} of ${count(one.variants)}`),
      ...facts(one).map((text) => text && h("span", {}, text)),
    ]),
    h("progress", {
      max: String(one.variants || 1),
      value: String(one.done + (progress ? within : 0)),
      "aria-label": `${one.title}: how far`,
    }),
    one.newest.length
      ? h(
          "div.now-strip",
          { tabindex: "0", role: "group", "aria-label": "Made so far, newest first" },
          one.newest.map((made, place) =>
            h(
              "a",
              { href: `/look/${made.sha256}` },
              h("img.veiled", {
                src: `/thumbnails/${made.sha256}?side=192`,
                alt: made.label || `Picture ${one.pictures - place}`,
              }),
            ),
          ),
        )
      : null,
    one.state === "silent"
      ? h("p.fault", {}, `Nothing has come from ${one.host} for ten minutes. Look there.`)
      : null,
    one.state === "stopped"
      ? h(
          "p.quiet-text",
          {},
          "Nobody draws this any more. What it made is kept; go on from its page.",
        )
      : null,
    one.last_failure
      ? h("details", {}, h("summary", {}, "Why the last one failed"), h("p", {}, one.last_failure))
      : null,
  ];
}

/** A run of a terminal, another process or another machine. */
const ofOthers = (one) =>
  h(
    "article",
    { "aria-label": one.title },
    h("div", {}, h("h3", {}, h("a", { href: `/runs/${one.run_id}` }, one.title)), told(one)),
  );

/** A run that was started here. */
function ofPage(run) {
  const p = queue.progress;
  const going = run.status === "running" || run.status === "stopping",
    open = going || run.status === "waiting";
  const mine = going ? live.find((one) => one.run_id === p?.run_id) : null;
  const preview = going && p?.preview;
  return h(
    `article${preview ? ".with-preview" : ""}`,
    { "aria-label": run.title },
    preview
      ? h("img.preview.veiled", { src: `/api/preview?${number}`, alt: "The picture so far" })
      : null,
    h(
      "div",
      {},
      h(
        "h3",
        {},
        run.run_id && !open ? h("a", { href: `/runs/${run.run_id}` }, run.title) : run.title,
      ),
      mine
        ? told(
            { ...mine, host: "", process: null, title: run.title },
            { status: run.status, step: p.step, steps: p.steps },
          )
        : h("p", {}, mark(run.status), " ", h("span.quiet-text", {}, line(run, going ? p : null))),
      going && !mine
        ? h("progress", {
            max: String(run.plan_size),
            value: "0",
            "aria-label": `${run.title}: how far`,
          })
        : null,
      run.error ? h("p.fault", {}, run.error) : null,
      run.failures.length
        ? h(
            "ul.reasons",
            {},
            run.failures.map((text) => h("li", {}, text)),
          )
        : null,
    ),
    open
      ? h(
          "button.quiet",
          {
            type: "button",
            "aria-label": `Cancel ${run.title}`,
            onclick: () =>
              send("/api/runs/cancel", { number: run.number }).catch((error) =>
                notice(error.message),
              ),
          },
          "Cancel",
        )
      : null,
  );
}
const line = (run, p) =>
  p ? `${count(p.variant)} of ${count(p.variants)}` : pictures(run.plan_size);

function show() {
  number += 1;
  const open = (run) => ["running", "stopping", "waiting"].includes(run.status);
  const shown = [
    ...queue.runs.filter(open),
    ...queue.runs.filter((run) => !open(run)).slice(0, MOST_ENDED),
  ];
  const here = queue.runs.some((run) => run.status === "running" || run.status === "stopping")
    ? queue.progress?.run_id
    : null;
  const active = document.activeElement?.getAttribute?.("aria-label");
  const inside = box.contains(document.activeElement);
  const strips = [...box.querySelectorAll("article")].map((each) => [
    each.getAttribute("aria-label"),
    each.querySelector(".now-strip")?.scrollLeft ?? 0,
    each.querySelector("details")?.open ?? false,
  ]);
  put(box, live.filter((one) => one.run_id !== here).map(ofOthers), shown.map(ofPage));
  for (const [name, left, unfolded] of strips) {
    const again = [...box.querySelectorAll("article")].find(
      (each) => each.getAttribute("aria-label") === name,
    );
    if (again && left) again.querySelector(".now-strip")?.scrollTo(left, 0);
    if (again && unfolded) again.querySelector("details")?.setAttribute("open", "");
  }
  if (inside && active)
    [...box.querySelectorAll("[aria-label]")]
      .find((each) => each.getAttribute("aria-label") === active)
      ?.focus();
}

/** Take the list of what has ended anew, without a blink: the page stays where it is. */
async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const at = document.activeElement?.getAttribute?.("href");
  const inside = $("#history").contains(document.activeElement);
  $("#history").replaceWith(document.adoptNode(page.querySelector("#history")));
  if (inside && at) $(`#history [href="${CSS.escape(at)}"]`)?.focus();
}

show();
listen({
  runs: (state) => {
    queue = state;
    show();
  },
  live: (state) => {
    live = state;
    show();
  },
  archive: (now) => {
    if (seen !== now) renew().catch(() => {});
    seen = now;
  },
});
