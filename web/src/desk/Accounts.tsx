// Accounts by their distance from liquidation: any number of them, sorted and searched here.
import { useMemo, useState } from "preact/hooks";
import { percent, short, whole } from "../base/format";
import { useAnswer } from "../base/live";
import type { AccountColumns } from "../base/types";
import { Panel } from "../ui/Panel";
import { useNarrow } from "../ui/narrow";
import { VirtualTable, type Col } from "../ui/VirtualTable";

const LIMITS = [1_000, 10_000, 100_000];

interface Props { unit: string; label: string; onOpen: (name: string) => void }

type Key = "account" | "distance" | "equity" | "maintenance" | "notional" | "usage";

function usage(a: AccountColumns, k: number): number {
  const equity = a.equity[k]!;
  return equity > 0 ? a.maintenance[k]! / equity : Infinity;
}

function ordered(a: AccountColumns, sort: { key: Key; down: boolean }, text: string, least: number) {
  const wanted = text.trim().toLowerCase();
  const picked = new Int32Array(a.account.length);
  let n = 0;
  for (let k = 0; k < picked.length; k++) {
    if (least && a.notional[k]! < least) continue;
    if (wanted && !a.account[k]!.toLowerCase().includes(wanted)) continue;
    picked[n++] = k;
  }
  const rows = picked.subarray(0, n);
  const { key, down } = sort;
  if (key === "distance" && !down) return rows; // as the service sends them
  if (key === "account") {
    const order = Array.from(rows).sort((x, y) => (a.account[x]! < a.account[y]! ? -1 : 1));
    return Int32Array.from(down ? order.reverse() : order);
  }
  const by = Float64Array.from(a.account, (_, k) => (key === "usage" ? usage(a, k) : a[key][k]!));
  rows.sort((x, y) => by[x]! - by[y]! || x - y);
  return down ? rows.reverse() : rows;
}

export function Accounts({ unit, label, onOpen }: Props) {
  const [limit, setLimit] = useState(LIMITS[0]!);
  const [sort, setSort] = useState<{ key: Key; down: boolean }>({ key: "distance", down: false });
  const [text, setText] = useState("");
  const [least, setLeast] = useState(0);
  const path = `v1/accounts?offset=0&limit=${limit}`;
  const got = useAnswer<AccountColumns>(path, {
    topics: ["health", "venue"], heavy: limit > 1_000, least: limit > 10_000 ? 6000 : limit > 1_000 ? 3000 : 1000,
  });
  const a = got.data;
  const narrow = useNarrow();
  const order = useMemo(() => (a ? ordered(a, sort, text, least) : new Int32Array()), [a, sort, text, least]);
  const all: Col[] = a ? [
    { key: "account", label: capital(label), text: true, width: "minmax(96px, 1.4fr)", cell: (k) => a.account[k]! },
    { key: "distance", label: "Distance", unit: "% of size", width: "minmax(126px, 1fr)",
      cell: (k) => percent(a.distance[k]!).replace(" %", ""), full: (k) => `${a.distance[k]} of its size` },
    { key: "equity", label: "Equity", unit, width: "minmax(70px, 1fr)", cell: (k) => short(a.equity[k]!),
      full: (k) => `${whole(a.equity[k]!)} ${unit}` },
    { key: "maintenance", label: "Maintenance", unit, width: "minmax(86px, 1fr)",
      cell: (k) => short(a.maintenance[k]!), full: (k) => `${whole(a.maintenance[k]!)} ${unit}` },
    { key: "notional", label: "Size", unit, width: "minmax(70px, 1fr)", cell: (k) => short(a.notional[k]!),
      full: (k) => `${whole(a.notional[k]!)} ${unit}` },
    { key: "usage", label: "Used", unit: "%", width: "minmax(56px, .7fr)",
      cell: (k) => (a.equity[k]! > 0 ? percent(usage(a, k), 0).replace(" %", "") : "all") },
  ] : [];
  const columns = all.filter((c) => !narrow || !["maintenance", "usage"].includes(c.key));
  const filtered = a && (text || least) ? `${whole(order.length)} of ` : "";
  return (
    <Panel id="accounts" title={`${capital(label)}s near the edge`} path={path} got={got}
      unit={a ? `${filtered}${whole(a.account.length)} shown, ${whole(a.total)} hold positions` : undefined}
      empty={a && !a.total && `No ${label} holds a position.`}
      tools={
        <>
          <input id="find" type="search" placeholder="Find by name" aria-label={`Find ${label}s by name`}
            value={text} onInput={(e) => setText(e.currentTarget.value)} />
          <select aria-label="Smallest size" value={least} onChange={(e) => setLeast(Number(e.currentTarget.value))}>
            {[0, 1e4, 1e5, 1e6].map((v) => <option key={v} value={v}>{v ? `size ≥ ${short(v)} ${unit}` : "any size"}</option>)}
          </select>
          <select aria-label="How many are read" value={limit} onChange={(e) => setLimit(Number(e.currentTarget.value))}>
            {LIMITS.map((v) => <option key={v} value={v}>{whole(v)} nearest</option>)}
          </select>
        </>
      }>
      {a && (order.length ? (
        <VirtualTable label={`${capital(label)}s`} columns={columns} order={order} height={348} sort={sort}
          onSort={(key) => setSort((s) => ({ key: key as Key, down: s.key === key ? !s.down : key !== "account" && key !== "distance" }))}
          onOpen={(k) => onOpen(a.account[k]!)} name={(k) => a.account[k]!}
          tone={(k) => (a.equity[k]! < 0 ? "broke" : a.distance[k]! < 0 ? "under" : a.distance[k]! < 0.01 ? "near" : "")} />
      ) : <p class="empty">No {label} matches.</p>)}
      <p class="note legend-tones"><span class="broke">below zero</span><span class="under">liquidatable</span>
        <span class="near">within 1 %</span></p>
    </Panel>
  );
}

function capital(label: string): string {
  return label.charAt(0).toUpperCase() + label.slice(1);
}
