// Runs before the first paint, so that neither the wrong colours nor bare pictures flash up.
(() => {
  const root = document.documentElement;
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const theme = kept("safelight.theme");
  if (theme) root.dataset.theme = theme;
  if (kept("safelight.blur") === "1") root.classList.add("veil");
})();
