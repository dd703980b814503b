// A config between the form and what is sent. Numbers stay as they are written, and what the form
// has no field for is kept beside it.

/** A number as it is written: JavaScript would round a large one, and forget that 7.0 is one. */
class Written {
  constructor(text) {
    this.text = text;
  }
  toString() {
    return this.text;
  }
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const IN_JSON = /^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/i;

const isTable = (value) =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Written);
const isNumber = (value) => typeof value === "number" || value instanceof Written;

/** Return *value* with the numbers that came as texts as what they are. */
export function revived(value) {
  if (Array.isArray(value)) return value.map(revived);
  if (!isTable(value)) return value;
  if (typeof value.$number === "string") return new Written(value.$number);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, revived(one)]));
}

/** Return *value* as JSON, each number as it is written. */
export function exactJson(value) {
  if (value instanceof Written) return value.text;
  if (Array.isArray(value)) return `[${value.map(exactJson).join(",")}]`;
  if (!isTable(value)) return JSON.stringify(value) ?? "null";
  const own = Object.entries(value).filter(([, one]) => one !== undefined);
  return `{${own.map(([key, one]) => `${JSON.stringify(key)}:${exactJson(one)}`).join(",")}}`;
}

const numberOf = (text) => new Written(IN_JSON.test(text) ? text : String(Number(text)));
const parts = (text) =>
  text
    .split(";")
    .map((one) => one.trim())
    .filter(Boolean);
const listed = (text) => parts(text).map((one) => (NUMBER.test(one) ? numberOf(one) : one));

/** What one field says: a value, or several to sweep over. */
function read(name, text, kind) {
  const trimmed = text.trim();
  if (kind === "text") {
    const several = !name.endsWith("prompt") && text.includes(";");
    return several ? { sweep: parts(text) } : { value: text };
  }
  if (NUMBER.test(trimmed)) return { value: numberOf(trimmed) };
  return { sweep: trimmed.includes(";") ? listed(trimmed) : trimmed };
}

/** Whether *field* shows *value*. */
function shows(field, value) {
  if (!field || value === "") return false;
  if (field.dataset.kind && field.dataset.kind !== "text") return isNumber(value);
  if (field.tagName === "SELECT") return [...field.options].some((one) => one.value === value);
  return typeof value === "string" && value.trim() !== "";
}

/** How a field shows several values; null when it cannot. */
function sweepText(field, values) {
  if (!field || field.tagName === "SELECT" || field.name.endsWith("prompt")) return null;
  const numbers = (field.dataset.kind ?? "text") !== "text";
  if (typeof values === "string")
    return numbers && !NUMBER.test(values.trim()) && !values.includes(";") ? values : null;
  if (!Array.isArray(values) || values.length < 2) return null;
  const fits = numbers
    ? values.every(isNumber)
    : values.every((one) => typeof one === "string" && one === one.trim() && !/[;\n]|^$/.test(one));
  return fits ? values.join("; ") : null;
}

/** The config that a form shows, and what it has no field for. */
export class FormConfig {
  constructor(form) {
    this.form = form;
    this.rest = {};
    this.beneath = {};
    this.exactly = {};
    this.order = [];
    this.varies = false;
  }

  /** Show *config*; what it says that no field shows is kept. */
  show(config) {
    this.rest = {};
    this.beneath = {};
    this.exactly = {};
    this.order = [];
    this.varies = isTable(config.randomizer);
    for (const field of this.form.elements) if (field.name) field.value = "";
    for (const [key, value] of Object.entries(config)) {
      if (key === "backend" && isTable(value)) {
        const { name, ...options } = value;
        this.#place("backend", name ?? "");
        if (Object.keys(options).length) this.rest.backend = options;
      } else if (isTable(value)) this.#table(key, value);
      else this.#place(key, value);
    }
    this.#sweep(config.randomizer);
    for (const section of this.form.querySelectorAll("[data-stage]"))
      section.open =
        section.dataset.stage in config ||
        ["txt2img", "randomizer"].includes(section.dataset.stage);
  }

  #table(stage, table) {
    for (const [name, value] of Object.entries(table))
      if (!(stage === "randomizer" && name === "sweep")) this.#place(`${stage}.${name}`, value);
    if (!Object.keys(table).length) this.rest[stage] = {};
  }

  #place(path, value) {
    const field = this.form.elements[path];
    if (!shows(field, value)) {
      this.#keep(path, value);
      return;
    }
    field.value = String(value);
    // A field may change ends of lines, and read a ";" as a sweep: untouched, it says what was said.
    if (typeof value === "string") this.exactly[path] = { shown: field.value, value };
  }

  #keep(path, value) {
    const [stage, ...name] = path.split(".");
    if (name.length) {
      this.rest[stage] ??= {};
      this.rest[stage][name.join(".")] = value;
    } else this.rest[stage] = value;
  }

  #sweep(randomizer) {
    const sweep = isTable(randomizer) ? randomizer.sweep : undefined;
    if (sweep === undefined) return;
    if (!isTable(sweep)) {
      this.#keep("randomizer.sweep", sweep);
      return;
    }
    this.order = Object.keys(sweep);
    const kept = {};
    for (const [path, values] of Object.entries(sweep)) {
      const field = this.form.elements[path];
      const text = sweepText(field, values);
      if (text === null) kept[path] = values;
      else {
        this.beneath[path] = field.value;
        field.value = text;
      }
    }
    if (Object.keys(kept).length || !this.order.length) this.#keep("randomizer.sweep", kept);
  }

  /** Return what is kept, as paths. */
  hidden() {
    const told = [];
    for (const [stage, value] of Object.entries(this.rest)) {
      if (!isTable(value)) {
        if (value !== "") told.push(stage);
      } else
        for (const [name, one] of Object.entries(value))
          if (name === "sweep" && isTable(one))
            told.push(...Object.keys(one).map((path) => `several values of ${path}`));
          else if (one !== "") told.push(`${stage}.${name}`);
    }
    return told;
  }

  /** Return the config: what the fields say, and what is kept. */
  gathered() {
    const draft = {};
    for (const [stage, value] of Object.entries(this.rest))
      draft[stage] = isTable(value) ? { ...value } : value;
    const options = isTable(draft.backend) ? draft.backend : null;
    const sweep = { ...(isTable(draft.randomizer?.sweep) ? draft.randomizer.sweep : {}) };
    for (const field of this.form.elements) {
      if (!field.name || field.value.trim() === "") continue;
      const [stage, name] = field.name.split(".");
      const was = this.exactly[field.name];
      const same = was?.shown === field.value;
      if (!name) {
        draft[stage] = same ? was.value : field.value.trim();
        continue;
      }
      const kind = field.dataset.kind ?? "text";
      draft[stage] ??= {};
      if (stage === "randomizer") {
        const text = field.value.trim();
        draft.randomizer[name] = kind !== "text" && NUMBER.test(text) ? numberOf(text) : text;
        continue;
      }
      const said = same ? { value: was.value } : read(name, field.value, kind);
      if ("value" in said) draft[stage][name] = said.value;
      else {
        sweep[field.name] = said.sweep;
        const beneath = read(name, this.beneath[field.name] ?? "", kind);
        if (was && this.beneath[field.name]) draft[stage][name] = was.value;
        else if (this.beneath[field.name] && "value" in beneath) draft[stage][name] = beneath.value;
      }
    }
    if (options)
      draft.backend =
        typeof draft.backend === "string" ? { name: draft.backend, ...options } : options;
    const axes = [
      ...new Set([...this.order.filter((path) => path in sweep), ...Object.keys(sweep)]),
    ];
    if (axes.length || isTable(draft.randomizer?.sweep))
      draft.randomizer = {
        ...draft.randomizer,
        sweep: Object.fromEntries(axes.map((path) => [path, sweep[path]])),
      };
    const expands = /\{.*\}|__.+__/s.test(draft.txt2img?.prompt ?? "");
    const own = !this.varies && (draft.randomizer || expands);
    if (own && !draft.randomizer?.mode) draft.randomizer = { mode: "fanout", ...draft.randomizer };
    return draft;
  }
}
