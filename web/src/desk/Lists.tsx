// The lists at the side: alerts, auctions, orders in flight, deleveragings, the event log.
import { useRef, useState } from "preact/hooks";
import { ask, Refused } from "../base/api";
import { fixed, moment, percent, short, span, time, whole, words } from "../base/format";
import { useAnswer, type Got } from "../base/live";
import type { Alert, AuctionNow, Logged, OrderNow, Receipt, VenueNow } from "../base/types";
import { Panel } from "../ui/Panel";
import { Orders } from "./Orders";

type Open = (name: string, seq?: number) => void;
const PAGE = 100;

export function Alerts({ got, ts }: { got: Got<Alert[]>; ts: number }) {
  const rows = got.data ?? [];
  return (
    <Panel id="alerts" title="Alerts" unit={rows.length ? `${rows.length} open` : undefined} path="v1/alerts" got={got}
      missing="This service raises no alerts."
      empty={got.data && !rows.length && "No alert is open."}>
      <ul class="alerts">{rows.map((a) => (
        <li key={a.code + a.since} class={a.severity}>
          <b>{a.severity === "page" ? "▲" : a.severity === "warn" ? "△" : "·"} {words(a.code)}</b>
          <small title={`since ${moment(a.since)} UTC`}>{ts > a.since ? `for ${span((ts - a.since) / 1e9)}` : time(a.since)}</small>
          <span>{a.detail}</span>
        </li>
      ))}</ul>
    </Panel>
  );
}

export function Auctions({ unit, ts }: { unit: string; ts: number }) {
  const got = useAnswer<AuctionNow[]>("v1/auctions", { topics: ["auctions"], least: 500, idle: 1000 });
  const seen = useRef(new Map<number, number[]>());
  const rows = got.data ?? [];
  for (const a of rows) {
    if (a.asking === null) continue;
    const path = seen.current.get(a.auction) ?? [];
    const asked = Number(a.asking);
    if (path.at(-1) !== asked) path.push(asked);
    seen.current.set(a.auction, path.slice(-60));
  }
  return (
    <Panel id="auctions" title="Auctions" unit={rows.length ? `${rows.length} open; prices in ${unit}, ends in min:s` : undefined}
      path="v1/auctions" got={got} empty={got.data && !rows.length && "No auctions are open."}>
      <div class="scroll" style={{ maxHeight: "190px" }} tabIndex={0} aria-label="Open auctions">
        <table class="rows">
          <thead><tr><th>Auction</th><th class="num" title="what the bidder gets">Gets</th><th class="num">Asking</th>
            <th class="num">vs mark</th><th>Seen</th><th class="num">Bids</th><th class="num">Ends in</th></tr></thead>
          <tbody>{rows.map((a) => {
            const off = a.asking === null ? null : Number(a.asking) / Number(a.mark) - 1;
            const end = a.closes_at ?? a.reveal_at;
            return (
              <tr key={a.auction} data-auction={a.auction}>
                <th scope="row" title={`auction ${a.auction}, opened ${moment(a.opened_at)} UTC`}>{a.instrument} <small>{a.kind}</small></th>
                <td class={`num ${a.quantity.startsWith("-") ? "t-sell" : "t-buy"}`}>{whole(a.quantity)}</td>
                <td class="num asking">{a.asking === null ? "by bids" : whole(a.asking)}</td>
                <td class="num">{percent(off)}</td>
                <td><Spark values={seen.current.get(a.auction) ?? []} /></td>
                <td class="num">{whole(a.bids)}</td>
                <td class="num">{end === null ? "–" : end > ts ? minutes((end - ts) / 1e9) : "now"}</td>
              </tr>
            );
          })}</tbody>
        </table>
      </div>
    </Panel>
  );
}

function minutes(seconds: number): string {
  const s = Math.ceil(seconds);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

function Spark({ values }: { values: number[] }) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const x = (k: number) => 1 + (38 * k) / Math.max(1, values.length - 1);
  const y = (v: number) => (high > low ? 13 - (11 * (v - low)) / (high - low) : 7);
  return (
    <svg class="spark" width="40" height="14" role="img"
      aria-label={values.length > 1 ? `fell from ${fixed(values[0], 2)} to ${fixed(values.at(-1), 2)}` : "one price seen"}>
      {values.length > 1 && <polyline points={values.map((v, k) => `${x(k)},${y(v)}`).join(" ")} />}
      {values.length > 0 && <circle cx={x(values.length - 1)} cy={y(values.at(-1)!)} r="1.8" />}
    </svg>
  );
}

export function InFlight({ unit, onOpen }: { unit: string; onOpen: Open }) {
  const got = useAnswer<OrderNow[]>("v1/orders", { topics: ["orders"], least: 700 });
  const rows = got.data ?? [];
  return (
    <Panel id="orders" title="Orders in flight" unit={rows.length ? `${whole(rows.length)} orders` : undefined} path="v1/orders"
      got={got} empty={got.data && !rows.length && "No orders are in flight."}>
      <div class="scroll" style={{ maxHeight: "166px" }} tabIndex={0} aria-label="Orders in flight">
        <Orders rows={rows.slice(0, 300)} unit={unit} onOpen={(name) => onOpen(name)} />
        {rows.length > 300 && <p class="note">The first 300 are shown.</p>}
      </div>
    </Panel>
  );
}

/** A list that grows backwards: the newest page is kept fresh, older ones are asked for once. */
function usePages<T extends { seq: number }>(path: string, topics: string[]) {
  const got = useAnswer<T[]>(`${path}?limit=${PAGE}`, { topics, least: 1000 });
  const [kept, setKept] = useState<T[]>([]);
  const [said, setSaid] = useState("");
  const top = got.data ?? [];
  const known = new Set(top.map((row) => row.seq));
  const rows = [...top, ...kept.filter((row) => !known.has(row.seq))].sort((a, b) => b.seq - a.seq);
  async function older() {
    const before = rows.at(-1)?.seq;
    if (before === undefined) return;
    try {
      const more = await ask<T[]>(`${path}?before=${before}&limit=${PAGE}`);
      setKept([...rows, ...more]);
      setSaid(more.length ? "" : "That is all.");
    } catch (error) {
      setSaid(error instanceof Refused ? error.failure.title : String(error));
    }
  }
  return { got, rows, older, said };
}

export function Deleveragings({ venue, onOpen }: { venue: VenueNow | undefined; onOpen: Open }) {
  const { got, rows, older, said } = usePages<Receipt>("v1/deleveragings", ["deleveragings"]);
  const [open, setOpen] = useState<number | null>(null);
  const unit = venue?.numeraire ?? "";
  return (
    <Panel id="deleveragings" title="Deleveraging receipts" unit={unit} path={`v1/deleveragings?limit=${PAGE}`} got={got}
      empty={got.data && !rows.length && "Nobody was deleveraged."}>
      <div class="scroll" style={{ maxHeight: "214px" }} tabIndex={0} aria-label="Deleveraging receipts">
        <table class="rows">
          <thead><tr><th>Time</th><th>Instrument</th><th class="num">Price</th><th class="num">Deficit</th>
            <th class="num">Fund paid</th><th class="num">Winners gave</th></tr></thead>
          <tbody>{rows.map((r) => (
            <>
              <tr key={r.seq} class="opens" data-receipt={r.seq}>
                <td title={`seq ${r.seq}, ${moment(r.ts)} UTC`}>
                  <button class="link" aria-expanded={open === r.seq} onClick={() => setOpen(open === r.seq ? null : r.seq)}>{time(r.ts)}</button></td>
                <td>{r.instrument}</td><td class="num" title={`mark ${whole(r.mark)}`}>{whole(r.price)}</td>
                <td class="num" title={whole(r.deficit)}>{short(r.deficit)}</td>
                <td class="num" title={whole(r.fund_paid)}>{short(r.fund_paid)}</td>
                <td class="num" title={whole(r.forgone)}>{short(r.forgone)}</td>
              </tr>
              {open === r.seq && <tr key={`${r.seq}+`}><td colSpan={6}><ReceiptFull receipt={r} unit={unit} onOpen={onOpen} /></td></tr>}
            </>
          ))}</tbody>
        </table>
        <p class="more"><button class="link" onClick={() => void older()}>Older</button> {said}</p>
      </div>
    </Panel>
  );
}

function ReceiptFull({ receipt: r, unit, onOpen }: { receipt: Receipt; unit: string; onOpen: Open }) {
  return (
    <div class="receipt">
      <p>Rule {words(r.rule)}; {whole(r.candidates)} could have been taken; the fund held {short(r.fund)} {unit};
        mark {whole(r.mark)} {unit}. Closed out: {r.bankrupt.map((name, k) => (
          <>{k > 0 && ", "}<button class="link" onClick={() => onOpen(name, r.seq)}>{name}</button></>))}.</p>
      <table class="rows">
        <thead><tr><th class="num">Place</th><th>Winner</th><th class="num">Quantity <small>{r.instrument}</small></th>
          <th class="num">Gave up <small>{unit}</small></th></tr></thead>
        <tbody>{r.winners.map((w) => (
          <tr key={w.account}><td class="num">{whole(w.rank)}</td>
            <td><button class="link" onClick={() => onOpen(w.account, r.seq)}>{w.account}</button></td>
            <td class="num">{whole(w.quantity)}</td><td class="num" title={whole(w.forgone)}>{short(w.forgone)}</td></tr>
        ))}</tbody>
      </table>
    </div>
  );
}

export function EventLog({ onOpen }: { onOpen: Open }) {
  const { got, rows, older, said } = usePages<Logged>("v1/events", ["venue", "health", "orders", "rungs"]);
  const [text, setText] = useState("");
  const [held, setHeld] = useState<Logged[] | null>(null);
  const wanted = text.trim().toLowerCase();
  const shown = (held ?? rows).filter((r) => !wanted
    || `${r.seq} ${r.kind} ${r.what} ${r.accounts.join(" ")} ${r.refused.join(" ")}`.toLowerCase().includes(wanted));
  return (
    <Panel id="events" title="Event log" path={`v1/events?limit=${PAGE}`} got={got} class="tall"
      empty={got.data && !rows.length && "Nothing has happened yet."}
      tools={
        <>
          <input type="search" placeholder="Find in the log" aria-label="Find in the event log" value={text}
            onInput={(e) => setText(e.currentTarget.value)} />
          <button class="small" aria-pressed={held !== null} onClick={() => setHeld(held ? null : rows)}>
            {held ? "held" : "hold"}</button>
        </>
      }>
      <ol class="log scroll" style={{ maxHeight: "420px" }} tabIndex={0} aria-label="Events, newest first">
        {shown.map((r) => (
          <li key={r.seq} data-event={r.seq}>
            <span class="log-when" title={`${moment(r.ts)} UTC`}><b>{whole(r.seq)}</b> {time(r.ts)}</span>
            <span class="log-what"><em>{spaced(r.kind)}</em> {r.what}{" "}
              {r.refused.map((code) => <span key={code} class="chip alarm" title="refused">✕ {words(code)}</span>)}
              <Effects effects={r.effects} />
              {r.accounts.slice(0, 5).map((name) => (
                <button key={name} class="link" title={`Explain ${name} at seq ${r.seq}`} onClick={() => onOpen(name, r.seq)}>
                  {name}</button>))}
              {r.accounts.length > 5 && <small>and {r.accounts.length - 5} more</small>}
            </span>
          </li>
        ))}
        {!shown.length && <li class="empty">Nothing in the log matches.</li>}
        <li class="more"><button class="link" onClick={() => void older()}>Older</button> {said}</li>
      </ol>
    </Panel>
  );
}

// What every price brings with it; worth a word only to those who ask.
const USUAL = new Set(["observation_kept", "mark_moved", "volatility_moved", "profile_moved", "health_moved",
  "depth_moved", "peak_moved", "throttle_moved", "limits_held", "signal_kept", "stages_taken"]);

function Effects({ effects }: { effects: Record<string, number> }) {
  const [all, setAll] = useState(false);
  const named = Object.entries(effects).map(([name, n]) => [spaced(name), n] as const);
  const shown = named.filter(([name]) => all || !USUAL.has(name.replaceAll(" ", "_")));
  const rest = named.length - shown.length;
  return (
    <>
      {shown.map(([name, n]) => <span key={name} class="chip">{name}{n > 1 ? ` ×${whole(n)}` : ""}</span>)}
      {rest > 0 && <button class="chip" aria-label={`${rest} more effects`}
        title={named.map(([name, n]) => `${name} ×${n}`).join(", ")} onClick={() => setAll(true)}>+{rest}</button>}
    </>
  );
}

/** "PriceObserved" -> "price observed". */
function spaced(kind: string): string {
  return kind.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
}
