// The sheet: a table of pictures whose cells zoom together.

import { bind } from "./keys.js";
import { $, keep, kept } from "./page.js";
import "./ratings.js";
import { Zoom } from "./zoom.js";

const size = $("#cell-size"),
  table = $(".sheet");
const show = () => document.documentElement.style.setProperty("--cell", `${size.value}px`);
size.value = kept("safelight.cell", "160");
show();
size.addEventListener("input", () => {
  keep("safelight.cell", size.value);
  show();
});
const axes = $("#axes").elements;
const before = { x: axes.x?.value, y: axes.y?.value };
$("#axes").addEventListener("change", (event) => {
  if (!event.target.matches("select")) return;
  const other = { x: "y", y: "x" }[event.target.name];
  if (other && axes[other].value === event.target.value)
    axes[other].value = before[event.target.name]; // they change places
  event.target.form.requestSubmit();
});
if (table) {
  const images = () => [...table.querySelectorAll("img.zoomed")];
  const zoom = new Zoom(table, images, { needsCtrl: true });
  bind({
    zoomIn: { keys: ["+", "="], label: "Zoom all in", do: () => zoom.by(1.5) },
    zoomOut: { keys: ["-"], label: "Zoom all out", do: () => zoom.by(1 / 1.5) },
    fit: { keys: ["0"], label: "Fit all", do: () => zoom.fit() },
  });
}
