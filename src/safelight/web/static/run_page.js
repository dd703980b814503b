// One run: go on where it stopped. What it has drawn is not drawn again.
import "./plain.js";
import { $, notice, send } from "./page.js";

const button = $("#go-on");
button?.addEventListener("click", async () => {
  button.disabled = true;
  try {
    await send(`/api/runs/${button.dataset.run}/go-on`, {});
    location.href = "/runs";
  } catch (error) {
    notice(error.message);
    button.disabled = false;
  }
});
