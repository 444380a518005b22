// Light, dark, or what the system says. Not a module: it runs before the page is drawn, so that nothing flashes.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("larder.theme");
  } catch {
    // without storage the system decides
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
