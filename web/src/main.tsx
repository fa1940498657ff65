// The whole page: head, desk or replay, the key when it is asked for, the list of shortcuts.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { locked, setKey } from "./base/api";
import { useCell } from "./base/cell";
import { useAnswer } from "./base/live";
import { go, place } from "./base/route";
import { toggleTheme } from "./base/theme";
import type { Alert, VenueNow } from "./base/types";
import { Desk, typing } from "./desk/Desk";
import { Head, jump } from "./Head";
import { Dialog } from "./ui/Dialog";
import { later } from "./ui/Later";
import "uplot/dist/uPlot.min.css";
import "./style.css";

const Replay = later(async () => (await import("./replay/Replay")).Replay);
const PANELS = ["instruments", "rung", "fund", "cascade", "liquidations", "flow", "accounts", "auctions", "events"];

function App() {
  const venue = useAnswer<VenueNow>("v1/venue", { topics: ["venue", "health", "rungs", "orders"], least: 500 });
  const alerts = useAnswer<Alert[]>("v1/alerts", { topics: ["alerts"], least: 1000, idle: 10_000 });
  const { page } = useCell(place);
  const shut = useCell(locked);
  const [help, setHelp] = useState(false);
  useEffect(() => {
    document.title = venue.data ? `${venue.data.name} · rung ${venue.data.rung} · Tidegate` : "Tidegate";
  }, [venue.data?.name, venue.data?.rung]);
  useEffect(() => {
    function keys(e: KeyboardEvent) {
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || document.querySelector("dialog[open]")) return;
      if (e.key === "?") setHelp(true);
      else if (e.key === "t") toggleTheme();
      else if (e.key === "d") go("desk");
      else if (e.key === "r") go("replay");
      else if (e.key === "/" && document.getElementById("find")) document.getElementById("find")?.focus();
      else if (/^[1-9]$/.test(e.key)) jump(PANELS[Number(e.key) - 1]!);
      else if (e.key === "0") jump("venue");
      else return;
      e.preventDefault();
    }
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the panels</a>
      <Head venue={venue} alerts={alerts} onHelp={() => setHelp(true)} />
      <main id="main" tabIndex={-1}>{page === "replay" ? <Replay /> : <Desk venue={venue} alerts={alerts} />}</main>
      {shut && <Login why={shut} />}
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function Login({ why }: { why: string }) {
  const [token, setToken] = useState("");
  return (
    <Dialog title="API key" firm onClose={() => undefined}>
      <form class="start" onSubmit={(e) => { e.preventDefault(); if (token.trim()) setKey(token.trim()); }}>
        <p role="alert">{why}</p>
        <label><span>Key</span><input type="password" autocomplete="off" spellcheck={false} autofocus value={token}
          onInput={(e) => setToken(e.currentTarget.value)} /></label>
        <p class="note">A viewer's key is enough. It is kept in this tab until it is closed, and sent to this service only.</p>
        <button class="primary" disabled={!token.trim()}>Open the desk</button>
      </form>
    </Dialog>
  );
}

const SHORTCUTS: [string, string][] = [
  ["d, r", "desk, replay"], ["0", "the venue's figures"],
  ["1 … 9", PANELS.join(", ")], ["j, k", "next, previous instrument"], ["/", "find an account"],
  ["t", "light or dark"], ["Enter", "open the account under the cursor"],
  ["Arrows, Page, Home, End", "walk a table; move the cross in the heat map"],
  ["Space", "replay: play or pause"], ["← →", "replay: one step; with Shift ten"],
  ["+ −", "replay: faster, slower"], ["Esc", "close"], ["?", "this list"],
];

function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl class="shortcuts">{SHORTCUTS.map(([keys, what]) => (
        <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{what}</dd></div>))}</dl>
    </Dialog>
  );
}

render(<App />, document.getElementById("desk")!);
