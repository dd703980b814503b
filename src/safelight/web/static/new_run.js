// The form of a run: what is filled in becomes a config, whose plan is shown before it starts.
import { BROUGHT } from "./dropped.js";
import "./keys.js";
import { $, ask, count, duration, first, h, notice, put, send } from "./page.js";
import "./ratings.js";
import { exactJson, FormConfig, revived } from "./run_config.js";

const form = $("#config"),
  area = $("#toml"),
  start = $("#start");
const fields = new FormConfig(form);
const post = (path, body) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: exactJson(body),
  });

let writing = "form";
const CHOOSE = "Choose the engine that draws it.";
let wantsEngine = "";
/** The last TOML that the form was filled from, and what the form made of it. */
let written = { toml: "", config: null, comments: [], more: 0 };

const given = () => (writing === "toml" ? { toml: area.value } : { config: fields.gathered() });

// -- the form and the TOML stay one -------------------------------------------------------

function tellKept() {
  const hidden = fields.hidden();
  const line = $("#kept");
  line.hidden = !hidden.length;
  line.textContent = hidden.length
    ? `Kept as it is, and shown in the TOML only: ${hidden.slice(0, 12).join(", ")}${hidden.length > 12 ? ` and ${hidden.length - 12} more` : ""}.`
    : "";
}

function fill(config) {
  fields.show(config);
  tellKept();
  showEngine();
}

async function toToml() {
  const config = fields.gathered();
  const same = exactJson(config) === written.config;
  if (same && written.toml) area.value = written.toml;
  else {
    const { toml } = await post("/api/config", { config });
    const top = written.comments.map((line) => `# ${line}`.trimEnd());
    area.value = top.length ? `${top.join("\n")}\n\n${toml}` : toml;
    if (written.more)
      notice("The form was changed, so the TOML is written anew: comments within it are gone.");
    written = { ...written, toml: "", more: 0 };
  }
}

async function toForm() {
  const { config, comments, more_comments: more } = await post("/api/config", { toml: area.value });
  fill(revived(config));
  written = { toml: area.value, config: exactJson(fields.gathered()), comments, more };
}

async function write(how) {
  if (how === writing) return;
  try {
    await (how === "toml" ? toToml() : toForm());
  } catch (error) {
    notice(
      how === "toml"
        ? error.message
        : `The form cannot show this yet, so it stays as TOML: ${error.message}`,
    );
    return;
  }
  writing = how;
  showSide();
  plan();
}

function showSide() {
  const toml = writing === "toml";
  form.hidden = toml;
  $("#kept").hidden = toml || !$("#kept").textContent;
  $("#toml-pane").hidden = !toml;
  $("#as-form").setAttribute("aria-pressed", String(!toml));
  $("#as-toml").setAttribute("aria-pressed", String(toml));
}
$("#as-form").addEventListener("click", () => write("form"));
$("#as-toml").addEventListener("click", () => write("toml"));

// -- engines, and what they have ----------------------------------------------------------

const STATES = {
  asking: "asking…",
  ready: "ready",
  off: "off",
  missing: "not installed",
  slow: "slow",
};
const ASK_MS = 500,
  AGAIN_MS = 5000;
let { engines } = first();
let shownChoices = "";
const chosen = () => form.elements.backend.value.trim();
const stateOf = (name) => engines.find((one) => one.name === (name || "bundled"));
const sentence = (text) => {
  const whole = `${text[0]?.toUpperCase() ?? ""}${text.slice(1)}`;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
};

function showEngine() {
  const one = stateOf(chosen());
  const line = $("#engine-state");
  line.className = one && one.state !== "ready" && one.state !== "asking" ? "fault" : "";
  line.textContent = wantsEngine && !chosen() ? wantsEngine : one ? engineLine(one) : "";
  put(
    $("#engine-list"),
    engines.map((each) =>
      h(
        "button.quiet",
        {
          type: "button",
          "data-engine": each.name,
          "data-state": each.state,
          "aria-pressed": String(each === one),
          onclick: () => {
            form.elements.backend.value = each.name;
            changed();
          },
        },
        each.name,
        h("span.soft", {}, STATES[each.state]),
      ),
    ),
  );
  put(
    $("#engines"),
    engines.map((each) => h("option", { value: each.name }, STATES[each.state])),
  );
  choices(one);
}
const engineLine = (one) =>
  one.state === "ready"
    ? ""
    : one.message
      ? `${sentence(one.message)}${one.state === "off" ? " Start it, or connect another below." : ""}`
      : STATES[one.state];

/** Offer what the engine has at the fields that name it. */
async function choices(one) {
  const name = one?.state === "ready" ? one.name : "";
  if (name === shownChoices) return;
  shownChoices = name;
  const has = name
    ? (await ask(`/api/engines/states?${new URLSearchParams({ name })}`).catch(() => ({}))).choices
    : {};
  if (shownChoices !== name) return;
  for (const list of form.querySelectorAll("datalist[data-knob]")) list.remove();
  for (const field of form.querySelectorAll("[data-has]")) {
    field.removeAttribute("list");
    delete field.dataset.has;
  }
  for (const [knob, names] of Object.entries(has ?? {})) {
    form.append(
      h(
        "datalist",
        { id: `names-${knob}`, "data-knob": knob },
        names.map((value) => h("option", { value })),
      ),
    );
    for (const field of form.querySelectorAll(`input[name$=".${knob}"]`)) {
      field.setAttribute("list", `names-${knob}`);
      field.dataset.has = knob;
    }
  }
  for (const row of form.querySelectorAll(".lora-field")) row.hidden = !has?.lora?.length;
}

let asking = 0;
async function askEngines() {
  clearTimeout(asking);
  if (document.hidden) return;
  const before = stateOf(chosen())?.state;
  try {
    ({ engines } = await ask("/api/engines/states"));
  } catch {
    /* a list that is at fault, or nobody who answers: the plan says which */
  }
  const now = stateOf(chosen())?.state;
  const focus = document.activeElement?.dataset?.engine;
  showEngine();
  if (focus) $(`#engine-list [data-engine="${CSS.escape(focus)}"]`)?.focus();
  if (before !== undefined && now !== before) plan();
  const soon = engines.some((one) => one.state === "asking");
  asking = setTimeout(askEngines, soon ? ASK_MS : AGAIN_MS);
}
document.addEventListener("visibilitychange", askEngines);

for (const field of form.querySelectorAll("[data-lora]"))
  field.addEventListener("change", () => {
    const name = field.value.trim().replace(/\.(safetensors|pt|ckpt)$/i, "");
    const prompt = form.elements[field.dataset.lora];
    if (!name) return;
    prompt.value = `${prompt.value.trimEnd()} <lora:${name}:1>`.trimStart();
    field.value = "";
    changed();
  });

async function connect() {
  const told = $("#connect-state"),
    button = $("#connect");
  button.disabled = true;
  told.className = "quiet-text";
  put(told, "Asking…");
  try {
    const engine = await send("/api/engines/connect", { url: $("#address").value.trim() });
    form.elements.backend.value = engine.name;
    put(told, `It answers, and is ${engine.name} from now on.`);
    await askEngines();
    changed();
  } catch (error) {
    told.className = "fault";
    put(told, sentence(error.message));
  }
  button.disabled = false;
}
$("#connect").addEventListener("click", connect);
$("#address").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  connect();
});

// -- what it amounts to -------------------------------------------------------------------

let asked = 0,
  size = 0,
  latest = null;

/** Say why nothing can be started; with nothing to say, it can. */
function mayStart(reason = "") {
  start.disabled = reason !== "";
  put($("#start-status"), reason);
}

const fieldOf = (path) =>
  form.elements[path.replace(/^randomizer\.sweep\./, "").replace(/\[\d+\]$/, "")] ??
  (path.startsWith("backend") ? form.elements.backend : null);

/** Show each fault at its field. */
function showFaults(faults) {
  for (const line of form.querySelectorAll(".field-fault")) line.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  if (writing === "toml") return;
  faults.forEach(({ path, message }, number) => {
    const field = fieldOf(path);
    if (!field?.name || field.getAttribute("aria-invalid")) return;
    const id = `fault-${number}`;
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", id);
    field.parentElement.append(h("small.field-fault", { id }, sentence(message)));
    for (let at = field.parentElement; at && at !== form; at = at.parentElement)
      if (at.tagName === "DETAILS") at.open = true;
  });
}

function faultList(faults) {
  return [
    h(
      "p.fault",
      {},
      faults.length === 1 ? "One thing is wrong." : `${faults.length} things are wrong.`,
    ),
    h(
      "ul.reasons",
      {},
      faults.map(({ path, message }) => {
        const field = writing === "form" && path ? fieldOf(path) : null;
        return h(
          "li",
          {},
          field?.name
            ? h("button.link", { type: "button", onclick: () => field.focus() }, path)
            : path && h("b", {}, path),
          path ? `: ${message}` : message,
        );
      }),
    ),
  ];
}

const called = (name) =>
  name
    .replace(/^txt2img\./, "")
    .replace("{", " {")
    .replaceAll("_", " ");

function tellPlan(answer) {
  const { state, message } = answer.engine;
  const isOff = state === "off" || state === "missing";
  put(
    $("#plan"),
    h(
      "p.big",
      {},
      `${count(answer.cost.pictures)} picture${answer.cost.pictures === 1 ? "" : "s"}`,
    ),
    h(
      "p",
      {},
      answer.cost.seconds === null
        ? "How long it takes is not known: this engine has not drawn such pictures here yet."
        : `About ${duration(answer.cost.seconds)}, by the last ${count(answer.cost.told_by)} pictures of this kind.`,
    ),
    h(
      "p",
      {},
      `${answer.stages.join(" → ")} on ${answer.backend}${answer.axes.length ? `: ${answer.axes.map((axis) => `${called(axis.name)} × ${count(axis.size)}`).join(", ")}` : ""}.`,
    ),
    answer.left_out ? h("p", {}, `Left out by conditions: ${count(answer.left_out)}.`) : null,
    isOff || state === "slow"
      ? h(
          "p.fault",
          {},
          `${answer.backend}: ${sentence(message)} `,
          h("button.link", { type: "button", onclick: again }, "Ask it again"),
        )
      : null,
    answer.warnings.map((text) => h("p.fault", {}, sentence(text))),
    h(
      "ol",
      {},
      answer.first.map((one) =>
        h(
          "li",
          {},
          one.label ||
            String(one.config.txt2img?.prompt ?? one.config.img2img?.prompt ?? "one picture").slice(
              0,
              140,
            ),
        ),
      ),
    ),
    answer.plan_size > answer.first.length
      ? h("p.quiet-text", {}, `… and ${count(answer.plan_size - answer.first.length)} more`)
      : null,
  );
  start.textContent = `Start ${count(answer.plan_size)} picture${answer.plan_size === 1 ? "" : "s"}`;
  if (isOff) mayStart(`${answer.backend} is not ready.`);
  else if (state === "asking") {
    mayStart(`Asking ${answer.backend} what it has…`);
    later(ASK_MS);
  } else mayStart();
}

async function again() {
  const name = latest?.backend;
  if (name)
    await ask(`/api/engines/states?${new URLSearchParams({ name, again: "1" })}`).catch(() => {});
  await askEngines();
  later(ASK_MS);
}

async function plan() {
  const mine = ++asked;
  const body = given();
  if (writing === "form") {
    const { config } = body;
    const empty = wantsEngine && !config.backend ? CHOOSE : "";
    const draws = config.txt2img?.prompt || config.img2img || config.upscale;
    if (empty || !draws) {
      showFaults([]);
      put($("#plan"), h(empty ? "p.fault" : "p.quiet-text", {}, empty || "Fill in a prompt."));
      start.textContent = "Start"; // how many was said of an earlier plan
      mayStart(empty ? "It needs an engine." : "It needs a prompt.");
      return;
    }
  }
  try {
    const answer = await post("/api/plan", body);
    if (mine !== asked) return;
    size = answer.plan_size;
    latest = answer;
    showFaults([]);
    tellPlan(answer);
  } catch (error) {
    if (mine !== asked) return;
    const faults = error.body?.faults ?? [{ path: "", message: error.message }];
    showFaults(faults);
    put($("#plan"), faultList(faults));
    start.textContent = "Start";
    mayStart("What is wrong comes first.");
  }
}
let timer = 0;
function later(milliseconds = 250) {
  clearTimeout(timer);
  timer = setTimeout(plan, milliseconds);
}
function changed() {
  showEngine();
  later();
}
form.addEventListener("input", (event) => {
  if (event.target.name === "backend") showEngine();
  later();
});
area.addEventListener("input", () => later());
form.addEventListener("submit", (event) => event.preventDefault());

start.addEventListener("click", async () => {
  if (latest?.asks && start.dataset.sure !== String(size)) {
    start.dataset.sure = String(size);
    start.textContent = `Yes, start all ${count(size)}`;
    return;
  }
  start.disabled = true;
  try {
    await post("/api/runs", { ...given(), yes: Number(start.dataset.sure ?? 0) });
    location.href = "/runs";
  } catch (error) {
    mayStart();
    put($("#start-status"), sentence(error.message));
  }
});

/** Begin with a config that another page has left here, or with the server's. */
async function begin() {
  const left = sessionStorage.getItem(BROUGHT);
  sessionStorage.removeItem(BROUGHT);
  const told = left ? JSON.parse(left) : first();
  if (left) $("h1").textContent = "Run again with changes";
  const tool = left ? told.tool || "Nobody" : "Another tool";
  if (left ? !told.engine : told.asks_engine) wantsEngine = `${tool} made this picture. ${CHOOSE}`;
  if (told.toml) {
    area.value = told.toml;
    if (left) await toForm();
    else writing = "toml";
  } else fill(revived(told.config ?? {}));
  showSide();
  askEngines();
  plan();
}
begin();
