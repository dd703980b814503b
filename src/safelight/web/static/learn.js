// What is being worked out is put in place when it is there; the rest of the page stays as it is.
import "./plain.js";
import { copyText } from "./copying.js";
import { $, listen, showAway } from "./page.js";

let listening = null;

/** What is read now: the first part that begins on the screen, by its name, and how far down. */
function whereItIs(shown) {
  const parts = [...shown.querySelectorAll("h2, h3, .sentence, .next-step, details[id]")];
  const part = parts.find((one) => one.getBoundingClientRect().top >= 0);
  return part && { name: nameOf(part), top: part.getBoundingClientRect().top };
}
const nameOf = (part) => part.id || part.textContent.trim().slice(0, 60);

/** Scroll so that what was read stands where it stood, whatever came in above it. */
function stay(shown, was) {
  if (!was || scrollY === 0) return;
  const parts = [...shown.querySelectorAll("h2, h3, .sentence, .next-step, details[id]")];
  const part = parts.find((one) => nameOf(one) === was.name);
  if (part) scrollBy({ top: part.getBoundingClientRect().top - was.top, behavior: "instant" });
}

async function renew() {
  const shown = $("#learned");
  const asked = new URLSearchParams(location.search);
  asked.set("kept", "1"); // what is there now; nothing else is begun
  const answer = await fetch(`${location.pathname}?${asked}`, {
    headers: { Accept: "text/html" },
  }).catch(() => null);
  if (answer === null) {
    showAway(0);
    return;
  }
  const told = new DOMParser().parseFromString(await answer.text(), "text/html");
  const place = told.querySelector("#learned") ?? told.querySelector("main");
  const open = [...shown.querySelectorAll("details[open][id]")].map((one) => one.id);
  const was = whereItIs(shown);
  shown.replaceChildren(...place.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  stay(shown, was);
  delete shown.dataset.waiting;
  shown.removeAttribute("aria-busy");
  listening?.close();
  listening = null;
  if (place.dataset.waiting) watch(place.dataset.waiting);
}

function watch(key) {
  const shown = $("#learned");
  shown.dataset.waiting = key;
  shown.setAttribute("aria-busy", "true");
  const doing = (told) => {
    const line = $("#doing");
    if (line && told.key === key) line.textContent = `${told.doing}.`;
  };
  // When the server is away the stream comes back by itself, and tells again.
  listening = listen({ answer: renew, doing }, [key]);
}

/** A config that names no engine is drawn by the one that was chosen. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form.draw")) return;
  event.preventDefault();
  const toml = `backend = ${JSON.stringify(form.elements.engine.value)}\n${form.dataset.toml}`;
  location.href = `/runs/new?${new URLSearchParams({ toml })}`;
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copyText(button.dataset.copy, button.dataset.what);
});

if ($("#learned")?.dataset.waiting) watch($("#learned").dataset.waiting);
