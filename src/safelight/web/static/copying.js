// A text goes to the clipboard, or where the browser refuses that, into a field to copy it from.
import { h, notice } from "./page.js";

export async function copyText(text, what, notes = []) {
  try {
    await navigator.clipboard.writeText(text);
    notice(["Copied.", ...notes].join(" "));
  } catch {
    const field = h("textarea", { readonly: true, rows: "8", "aria-label": what }, text);
    const dialog = h(
      "dialog",
      { "aria-label": what },
      field,
      h("form", { method: "dialog" }, h("button", {}, "Close")),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    field.select();
  }
}
