// Light or dark: the system's, until somebody chooses; drawings ask here for their colours.
import { Cell } from "./cell";

export type Theme = "light" | "dark";

const KEY = "tidegate.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function now(): Theme {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "dark" || chosen === "light") return chosen;
  return system.matches ? "dark" : "light";
}

export const theme = new Cell<Theme>(now());
system.addEventListener("change", () => (theme.value = now()));

export function toggleTheme(): void {
  const next = theme.value === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Then it lasts until the page is left.
  }
  theme.value = next;
}

/** The colour that the stylesheet gives the variable now. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function still(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
