// The queue: what runs, how far it is, what it looks like, and why something failed.
import { $, ask, first, h, listen, notice, put, send } from "./page.js";
import "./keys.js";
import "./ratings.js";

const box = $("#queue");
let number = 0;
let made = [];
let latest = first();

function show(state) {
  latest = state;
  number += 1;
  const p = state.progress;
  const one = (run) => {
    const going = run.status === "running" || run.status === "stopping",
      open = going || run.status === "waiting";
    const value =
      going && p ? p.variant - 1 + (p.event === "variant" ? 1 : p.steps ? p.step / p.steps : 0) : 0;
    const line =
      going && p
        ? `variant ${p.variant} of ${p.variants}${p.stage ? `, ${p.stage} step ${p.step} of ${p.steps}` : ""}${p.label ? ` · ${p.label}` : ""}`
        : open
          ? `waiting, ${run.plan_size} variants`
          : `${run.plan_size} variants`;
    return h(
      `article${going && p?.preview ? ".with-preview" : ""}`,
      { "aria-label": run.title },
      going && p?.preview
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
        h(
          "p",
          {},
          h(
            "span",
            {
              class: `mark-${["completed", "partial", "failed", "cancelled"].includes(run.status) ? run.status : "other"}`,
            },
            run.status,
          ),
          " ",
          h("span.quiet-text", {}, line),
        ),
        going
          ? h("progress", {
              max: String(p?.variants ?? run.plan_size),
              value: String(value),
              "aria-label": `${run.title}: how far`,
            })
          : null,
        going && made.length
          ? h(
              "div.now-strip",
              { tabindex: "0", role: "group", "aria-label": "Made so far, newest first" },
              made.slice(0, 12).map((row) =>
                h(
                  "a",
                  { href: `/look/${row.sha256}` },
                  h("img.veiled", {
                    src: `/thumbnails/${row.sha256}?side=192`,
                    alt: row.prompt?.slice(0, 100) || "picture",
                  }),
                ),
              ),
            )
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
  };
  const active = document.activeElement?.getAttribute?.("aria-label");
  put(box, ...state.runs.map(one));
  if (active && box.contains(document.activeElement) === false)
    [...box.querySelectorAll("button")]
      .find((button) => button.getAttribute("aria-label") === active)
      ?.focus();
}

show(latest);
let seen = null;
listen({
  runs: show,
  "being-made": async () => {
    try {
      made = (await ask("/api/being-made")).rows;
      show(latest);
    } catch {
      /* the next news brings them */
    }
  },
  archive: (now) => {
    if (seen !== null && seen !== now && !document.querySelector("input:focus")) location.reload();
    seen = now;
  },
});
