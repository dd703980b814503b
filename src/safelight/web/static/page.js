// What every view shares: building DOM without markup, asking the server, notices, switches.
export const $ = (selector, within = document) => within.querySelector(selector);

/** Make an element; text always goes in as text, so that no prompt can become markup. */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const first = () => JSON.parse($("#first").textContent);

export async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  const told = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(told.error), { status: answer.status });
  return told;
}

export const tell = (path, body, method = "POST") =>
  ask(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export function notice(text, act = null) {
  const line = h("p", {}, text, act && h("button", { type: "button", onclick: () => { act.do(); line.remove(); } }, act.label));
  $("#notices").append(line);
  setTimeout(() => line.remove(), 6000);
}

export const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private window */ } };
export const kept = (name, otherwise = "") => { try { return localStorage.getItem(name) ?? otherwise; } catch { return otherwise; } };
export const archive = document.documentElement.dataset.archive;
export const count = (number) => number.toLocaleString("en");

export function toggleBlur() {
  const on = document.documentElement.classList.toggle("veil");
  keep("safelight.blur", on ? "1" : "0");
  $("#blur")?.setAttribute("aria-pressed", String(on));
}

$("#blur")?.setAttribute("aria-pressed", String(document.documentElement.classList.contains("veil")));
$("#blur")?.addEventListener("click", toggleBlur);
$("#theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  keep("safelight.theme", root.dataset.theme);
});

/** Listen to the server while the page is seen; a hidden tab must not hold a connection. */
export function listen(handlers) {
  let source = null;
  const update = () => {
    if (document.hidden) { source?.close(); source = null; return; }
    if (source) return;
    source = new EventSource("/events");
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  };
  document.addEventListener("visibilitychange", update);
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", update);
  update();
}
