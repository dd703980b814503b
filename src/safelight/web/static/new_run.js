// The form of a run: what is filled in becomes a config, whose plan is shown before it starts.
import { BROUGHT } from "./dropped.js";
import "./keys.js";
import { $, count, first, h, notice, put, send } from "./page.js";
import "./ratings.js";

let wantsEngine = false;
const { config, toml } = brought();
const form = $("#config"),
  area = $("#toml");

/** What the page begins with: a config that another page has left here, or the server's. */
function brought() {
  const left = sessionStorage.getItem(BROUGHT);
  sessionStorage.removeItem(BROUGHT);
  if (!left) return first();
  const { config = {}, toml = "", tool, engine } = JSON.parse(left);
  $("h1").textContent = "Run again with changes";
  wantsEngine = !engine;
  if (wantsEngine)
    notice(`${tool || "Nobody"} made this picture: choose the engine that draws it.`);
  return { config, toml };
}

let writing = toml ? "toml" : "form";

for (const [stage, knobs] of Object.entries(config)) {
  if (typeof knobs !== "object" || knobs === null) {
    if (form.elements[stage]) form.elements[stage].value = knobs;
    continue;
  }
  for (const [name, value] of Object.entries(knobs)) {
    const field = form.elements[`${stage}.${name}`];
    if (field) field.value = typeof value === "object" ? JSON.stringify(value) : value;
    else if (typeof value !== "object")
      form.querySelector(`[data-stage="${stage}"]`)?.append(
        h(
          "label.field",
          {},
          h("span", {}, name),
          h("input", {
            name: `${stage}.${name}`,
            "data-kind": typeof value === "number" ? "number" : "text",
            value: String(value),
          }),
        ),
      );
  }
  const section = form.querySelector(`[data-stage="${stage}"]`);
  if (section) section.open = true;
}

/** What one field says: a value, or several to sweep over. */
function read(text, kind) {
  const trimmed = text.trim();
  if (kind === "text") {
    return { value: text };
  }
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed))
    return { value: Number(trimmed), raw: trimmed };
  if (trimmed.includes(";"))
    return {
      sweep: trimmed
        .split(";")
        .map((one) => one.trim())
        .filter(Boolean)
        .map(Number),
    };
  return { sweep: trimmed };
}

function gathered() {
  const draft = {};
  const sweep = {};
  for (const field of form.elements) {
    if (!field.name || field.value.trim() === "") continue;
    const [stage, name] = field.name.split(".");
    if (!name) {
      draft[stage] = field.value.trim();
      continue;
    }
    if (stage === "randomizer") {
      draft.randomizer ??= {};
      draft.randomizer[name] = field.dataset.kind === "integer" ? Number(field.value) : field.value;
      continue;
    }
    const kind = field.dataset.kind ?? "text";
    const several = kind === "text" && !name.endsWith("prompt") && field.value.includes(";");
    const parsed = several
      ? {
          sweep: field.value
            .split(";")
            .map((one) => one.trim())
            .filter(Boolean),
        }
      : read(field.value, kind);
    draft[stage] ??= {};
    if ("sweep" in parsed) sweep[`${stage}.${name}`] = parsed.sweep;
    else draft[stage][name] = parsed.value;
  }
  if (Object.keys(sweep).length) draft.randomizer = { ...draft.randomizer, sweep };
  const varies =
    Object.keys(sweep).length ||
    draft.randomizer?.seeds_per_variant > 1 ||
    /[{_]/.test(draft.txt2img?.prompt ?? "");
  if (draft.randomizer && !draft.randomizer.mode) draft.randomizer.mode = "fanout";
  if (!draft.randomizer && varies && /\{.*\}|__.+__/.test(draft.txt2img?.prompt ?? ""))
    draft.randomizer = { mode: "fanout" };
  return draft;
}

const given = () => (writing === "toml" ? { toml: area.value } : { config: gathered() });
const time = (seconds) =>
  seconds < 90
    ? `${Math.max(1, Math.round(seconds))} s`
    : seconds < 5400
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;
let asked = 0,
  size = 0,
  latest = null;

async function plan() {
  const mine = ++asked;
  const body = given();
  const place = $("#plan"),
    start = $("#start");
  if (writing === "form" && wantsEngine && !body.config.backend) {
    put(place, h("p.fault", {}, "Choose the engine that draws it."));
    start.disabled = true;
    return;
  }
  if (
    writing === "form" &&
    !body.config.txt2img?.prompt &&
    !body.config.img2img &&
    !body.config.upscale
  ) {
    put(place, h("p.quiet-text", {}, "Fill in a prompt."));
    start.disabled = true;
    return;
  }
  try {
    const answer = await send("/api/plan", body);
    if (mine !== asked) return;
    size = answer.plan_size;
    latest = answer;
    put(
      place,
      h(
        "p.big",
        {},
        `${count(answer.cost.pictures)} picture${answer.cost.pictures === 1 ? "" : "s"}`,
      ),
      h(
        "p",
        {},
        `${count(answer.plan_size)} variant${answer.plan_size === 1 ? "" : "s"} through ${answer.stages.join(" → ")} on ${answer.backend}, mode ${answer.mode}.`,
      ),
      h(
        "p",
        {},
        answer.cost.seconds === null
          ? "How long it takes is not known: this engine has not drawn such pictures here yet."
          : `About ${time(answer.cost.seconds)}, told by the last ${answer.cost.told_by} pictures.`,
      ),
      answer.axes.length
        ? h("p", {}, answer.axes.map((axis) => `${axis.name} × ${count(axis.size)}`).join(", "))
        : null,
      answer.left_out ? h("p", {}, `Left out by conditions: ${count(answer.left_out)}.`) : null,
      answer.warnings.map((text) => h("p.fault", {}, text)),
      h(
        "ol",
        { start: "0" },
        answer.first.map((one) =>
          h(
            "li",
            {},
            one.label ||
              String(
                one.config.txt2img?.prompt ?? one.config.img2img?.prompt ?? "one variant",
              ).slice(0, 140),
          ),
        ),
      ),
      answer.plan_size > answer.first.length
        ? h("p.quiet-text", {}, `… and ${count(answer.plan_size - answer.first.length)} more`)
        : null,
    );
    start.disabled = false;
    start.textContent = `Start ${count(answer.plan_size)} variant${answer.plan_size === 1 ? "" : "s"}`;
  } catch (error) {
    if (mine !== asked) return;
    put(place, h("p.fault", {}, error.message));
    start.disabled = true;
  }
}
let timer = 0;
const later = () => {
  clearTimeout(timer);
  timer = setTimeout(plan, 250);
};
form.addEventListener("input", later);
area.addEventListener("input", later);
form.addEventListener("submit", (event) => event.preventDefault());

async function write(how) {
  if (how === "toml" && writing === "form") {
    try {
      area.value = (await send("/api/plan", { config: gathered() })).toml;
    } catch {
      if (latest) area.value = latest.toml;
    }
  }
  writing = how;
  form.hidden = how === "toml";
  $("#toml-pane").hidden = how !== "toml";
  $("#as-form").setAttribute("aria-pressed", String(how === "form"));
  $("#as-toml").setAttribute("aria-pressed", String(how === "toml"));
  plan();
}
$("#as-form").addEventListener("click", () => write("form"));
$("#as-toml").addEventListener("click", () => write("toml"));
$("#start").addEventListener("click", async () => {
  const start = $("#start");
  if (latest?.asks && start.dataset.sure !== String(size)) {
    start.dataset.sure = String(size);
    start.textContent = `Yes, start all ${count(size)}`;
    return;
  }
  start.disabled = true;
  try {
    await send("/api/runs", { ...given(), yes: Number(start.dataset.sure ?? 0) });
    location.href = "/runs";
  } catch (error) {
    $("#start-status").textContent = error.message;
    start.disabled = false;
  }
});
if (toml) {
  area.value = toml;
  writing = "toml";
  write("toml");
} else plan();
