// Before the first paint: the theme that was chosen here; left alone, the system's counts.
try {
  const chosen = localStorage.getItem("tidegate.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; then the system's theme it is.
}
