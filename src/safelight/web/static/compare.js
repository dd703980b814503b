// Two to four pictures side by side, or two with an edge that moves; zoom and place are shared.

import { bind } from "./keys.js";
import { $, ask, first, h, put } from "./page.js";
import { overlay, starText } from "./ratings.js";
import { Zoom } from "./zoom.js";

const MOST = 4,
  LONG = 60,
  MISSING = "(not there)";
const { rows } = first();
overlay(rows);
const frame = $(".panes") ?? $("#slider");
if (frame) {
  const images = [...frame.querySelectorAll("img.zoomed")];
  const zoom = new Zoom(frame, () => images);
  bind({ zoom: { keys: [" "], label: "Zoom in and out", do: () => zoom.toggle() } });
}
const edge = $("#edge");
edge?.addEventListener("input", () => $("#slider").style.setProperty("--edge", `${edge.value}%`));
const showStars = () => {
  for (const row of rows) {
    const place = document.querySelector(`[data-stars="${row.sha256}"]`);
    if (place) place.textContent = starText(row);
  }
};
showStars();
if (rows.length > 1) {
  const changes = await ask(`/api/changes?pictures=${rows.map((row) => row.sha256).join(",")}`);
  // Above each only what differs: the settings that people think of first, and few of them.
  const told = changes.differences.filter((one) =>
    one.values.every((value) => value.length <= LONG),
  );
  for (const place of document.querySelectorAll("[data-unlike]"))
    put(
      place,
      told
        .filter((one) => one.values[Number(place.dataset.unlike)] !== MISSING)
        .slice(0, MOST)
        .map((one) =>
          h("span", {}, `${one.label} `, h("b", {}, one.values[Number(place.dataset.unlike)])),
        ),
    );
  put(
    $("#differences"),
    changes.differences.length
      ? h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, "Setting"),
              rows.map((_, place) => h("th", { scope: "col" }, String(place + 1))),
            ),
          ),
          h(
            "tbody",
            {},
            changes.differences.map((one) =>
              h(
                "tr",
                {},
                h("th", { scope: "row", title: one.knob }, one.label),
                one.values.map((value) => h("td", {}, value)),
              ),
            ),
          ),
        )
      : h("p", {}, "Every setting is the same."),
  );
}
