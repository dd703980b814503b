// The list of imports: what goes on is shown above it, and what was cut off goes on from here.
import { copyText } from "./copying.js";
import { showImports } from "./importing.js";
import { ask, first, listen, notice, send } from "./page.js";
import "./plain.js";

const begun = first();
let open = begun.filter((one) => one.is_open).length;
showImports(begun);
listen({
  imports: (states) => {
    const now = states.filter((one) => one.is_open).length;
    if (now < open && !document.querySelector("dialog[open]")) location.reload();
    open = now;
    showImports(states);
  },
});

// The address lets whoever has it add lines, so it is not in the page until somebody asks.
for (const button of document.querySelectorAll("[data-told]"))
  button.addEventListener("click", async () => {
    try {
      const told = await ask("/api/spool");
      await copyText(told[button.dataset.told], button.dataset.what);
    } catch (error) {
      notice(error.message);
    }
  });

for (const button of document.querySelectorAll("[data-again]"))
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await send("/api/imports", { folder: button.dataset.again, yes: true });
    } catch (error) {
      notice(error.message);
      button.disabled = false;
    }
  });
