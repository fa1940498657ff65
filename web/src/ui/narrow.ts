// Whether the screen is as narrow as a phone: tables then leave out what can be read elsewhere.
import { Cell, useCell } from "../base/cell";

const phone = matchMedia("(max-width: 560px)");
const narrow = new Cell(phone.matches);
phone.addEventListener("change", () => (narrow.value = phone.matches));

export function useNarrow(): boolean {
  return useCell(narrow);
}
