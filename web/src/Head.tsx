// The line at the top: which venue, in what mode, how fresh, and the way to the other page.
import { useCell } from "./base/cell";
import { clock } from "./base/cell";
import { key, locked, setKey } from "./base/api";
import { heard, type Got } from "./base/live";
import { moment, span, whole } from "./base/format";
import { go, place } from "./base/route";
import { stream } from "./base/stream";
import { theme, toggleTheme } from "./base/theme";
import type { Alert, VenueNow } from "./base/types";

interface Props { venue: Got<VenueNow>; alerts: Got<Alert[]>; onHelp: () => void }

const MODES: Record<string, [string, string]> = {
  armed: ["good", "orders are sent"], advising: ["info", "nothing is sent, only said"],
  halted: ["alarm", "nothing forced is started"],
};

export function Head({ venue: got, alerts, onHelp }: Props) {
  const venue = got.data;
  const { page } = useCell(place);
  const dress = useCell(theme);
  const token = useCell(key);
  const worst = (alerts.data ?? []).some((a) => a.severity === "page") ? "alarm" : "warn";
  const count = alerts.data?.length ?? 0;
  const [tone, what] = MODES[venue?.mode ?? ""] ?? ["", ""];
  return (
    <header class="head">
      <span class="brand"><Gate /> Tidegate</span>
      <nav aria-label="Pages">
        <a href="#/desk" aria-current={page === "desk" ? "page" : undefined} onClick={(e) => { e.preventDefault(); go("desk"); }}>Desk</a>
        <a href="#/replay" aria-current={page === "replay" ? "page" : undefined} onClick={(e) => { e.preventDefault(); go("replay"); }}>Replay</a>
      </nav>
      {venue && (
        <>
          <span class="venue" title={`stack ${venue.stack} ${venue.stack_digest}, version ${venue.version}`}>
            <b>{venue.name}</b> <small>under {venue.stack}</small></span>
          <span class={`chip ${tone}`} title={what} data-kpi="mode">{venue.mode}</span>
          <span class={`chip ${venue.leader ? "" : "warn"}`} title={`epoch ${venue.epoch}`} data-kpi="leader">
            {venue.leader ? "leader" : "standby"}</span>
          <span class="stamp"><small>seq</small> <b data-kpi="seq">{whole(venue.seq)}</b>
            <small> · {moment(venue.ts)} UTC</small></span>
          {count > 0 && <button class={`chip ${worst}`} onClick={() => jump("alerts")}>{count} alert{count > 1 ? "s" : ""}</button>}
        </>
      )}
      <span class="fill" />
      <Pulse failing={got.failure !== undefined} />
      <button class="icon" title="Light or dark (t)" aria-label={`Use the ${dress === "dark" ? "light" : "dark"} theme`} onClick={toggleTheme}>
        {dress === "dark" ? "☀" : "☾"}</button>
      <button class="icon" title="Shortcuts (?)" aria-label="Keyboard shortcuts" onClick={onHelp}>?</button>
      {token && <button class="small" onClick={() => { setKey(""); locked.value = "Signed out. Enter a key to go on."; }}>Sign out</button>}
    </header>
  );
}

/** How the service is heard, and how long ago it last said anything. */
function Pulse({ failing }: { failing: boolean }) {
  const now = useCell(clock);
  const last = useCell(heard);
  const state = useCell(stream.state);
  const shut = useCell(locked);
  const age = last ? Math.max(0, (now - last) / 1000) : undefined;
  const late = failing || age === undefined || age > 10;
  const [tone, word] = shut ? ["alarm", "no key"]
    : state === "live" && !late ? ["good", "live"]
    : !late ? ["warn", state === "connecting" ? "connecting" : "polling"]
    : last ? ["alarm", "no answer"] : ["", "connecting"];
  return (
    <span class={`pulse ${tone}`} role="status" data-state={word}>
      <i aria-hidden="true" /> {word}{age !== undefined && <small> {age < 1.5 ? "just now" : `${span(Math.round(age))} ago`.replace(".0", "")}</small>}
    </span>
  );
}

export function jump(id: string): void {
  const panel = document.getElementById(id);
  const title = panel?.querySelector<HTMLElement>("h2") ?? panel;
  panel?.scrollIntoView({ block: "start" });
  title?.focus({ preventScroll: true });
}

function Gate() {
  return (
    <svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 20c3.2 0 3.2-2.6 6.5-2.6S12.7 20 16 20s3.2-2.6 6.5-2.6S25.7 20 29 20" class="wave" />
      <path d="M9 13V5m7 8V5m7 8V5" class="bars" />
      <path d="M3 27c3.2 0 3.2-2.6 6.5-2.6S12.7 27 16 27s3.2-2.6 6.5-2.6S25.7 27 29 27" class="wave far" />
    </svg>
  );
}
