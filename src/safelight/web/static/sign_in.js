// Signing in with the link of the terminal: its secret stands behind the #, which no server is sent.

import { $, first, send } from "./page.js";

const { role, next } = first();
const secret = location.hash.slice(1);
const line = $("#sign-in");

async function begin() {
  if (secret) {
    history.replaceState(null, "", location.pathname + location.search);
    line.textContent = "Signing in…";
    line.hidden = false;
    try {
      await send("/login", { link: secret });
      location.replace(next);
      return;
    } catch (error) {
      if (!role) {
        line.className = "fault";
        line.textContent =
          error.status === 401
            ? "This link was used, or is older than ten minutes. Press Enter in the terminal where safelight runs: it writes another."
            : error.message;
        return;
      }
    }
  }
  // Who came from another site sent no cookie with that request, and is in all the same.
  if (role || (await fetch("/api/session").catch(() => ({ ok: false }))).ok) location.replace(next);
}
begin();
addEventListener("hashchange", () => location.reload());
