// The list of imports: what goes on is shown above it, and what was cut off goes on from here.
import { showImports } from "./importing.js";
import { first, listen, notice, send } from "./page.js";
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
