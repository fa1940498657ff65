// Where one is: the part of the address behind the hash, so that a view can be sent to a colleague.
import { Cell } from "./cell";

export interface Place { page: "desk" | "replay"; what: string }

function read(): Place {
  const [page, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const what = decodeURIComponent(rest.join("/"));
  return { page: page === "replay" ? "replay" : "desk", what };
}

export const place = new Cell<Place>(read());
addEventListener("hashchange", () => (place.value = read()));

export function go(page: Place["page"], what = ""): void {
  const hash = `#/${page}${what ? `/${encodeURIComponent(what)}` : ""}`;
  if (hash === location.hash) return;
  history.replaceState(null, "", hash);
  place.value = read();
}
