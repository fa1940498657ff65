// One account: what it holds, what is in flight for it, and why it was touched.
import { moment, percent, short, whole } from "../base/format";
import { useAnswer } from "../base/live";
import type { AccountNow, Explained, PositionNow } from "../base/types";
import { Dialog } from "../ui/Dialog";
import { Orders } from "./Orders";

interface Props { name: string; seq?: number | undefined; unit: string; onClose: () => void }

export function AccountDrawer({ name, seq, unit, onClose }: Props) {
  const path = `v1/accounts/${encodeURIComponent(name)}`;
  const got = useAnswer<AccountNow>(path, { topics: ["health", "orders"], least: 1000 });
  const why = useAnswer<Explained>(
    `v1/explain/${encodeURIComponent(name)}${seq === undefined ? "" : `?seq=${seq}`}`,
    { topics: seq === undefined ? ["orders", "deleveragings"] : [], least: 15_000 },
  );
  const a = got.data;
  return (
    <Dialog side title={name} label={`Account ${name}`} onClose={onClose}>
      {got.failure && <p class="failure" role="alert">{got.failure.title}. {got.failure.hint}</p>}
      {a && (
        <>
          <p class="state">
            {a.bankrupt ? <span class="chip alarm">▲ bankrupt</span>
              : a.liquidatable ? <span class="chip warn">△ liquidatable</span>
              : <span class="chip good">✓ safe</span>}
            {a.owner && a.owner !== a.name && <span class="chip">belongs to {a.owner}</span>}
            <small>seq {whole(a.seq)} · {moment(a.ts)} UTC</small>
          </p>
          <dl class="facts wide">
            {facts(a, unit).map(([n, v, u, full]) => (
              <div key={n}><dt>{n}</dt><dd title={full}>{v} <small>{u}</small></dd></div>
            ))}
          </dl>
          <h3>Positions</h3>
          {a.positions.length ? <Positions rows={a.positions} unit={unit} /> : <p class="empty">It holds nothing.</p>}
          <h3>Orders in flight</h3>
          {a.orders.length ? <Orders rows={a.orders} unit={unit} /> : <p class="empty">None.</p>}
        </>
      )}
      <h3>{seq === undefined ? "Why it was last touched" : `Why it was touched at seq ${whole(seq)}`}</h3>
      {why.failure ? <p class="failure" role="alert">{why.failure.title}. {why.failure.hint}</p>
        : !why.data ? <p class="empty quiet">asking …</p>
        : why.data.lines.length ? <ol class="explain" tabIndex={0} aria-label="Explanation">{why.data.lines.map((l, k) => <li key={k}>{l}</li>)}</ol>
        : <p class="empty">Nothing was done to it.</p>}
    </Dialog>
  );
}

function facts(a: AccountNow, unit: string): [string, string, string, string][] {
  const money = (n: string, v: string): [string, string, string, string] => [n, short(v), unit, `${whole(v)} ${unit}`];
  return [
    money("Equity", a.equity), money("Maintenance", a.maintenance), money("Initial margin", a.initial),
    money("Cash", a.cash),
    ["Maintenance over equity", percent(a.margin_ratio, 1), "", String(a.margin_ratio)],
    ["To the edge", percent(a.distance), "of its size", String(a.distance)],
  ];
}

function Positions({ rows, unit }: { rows: PositionNow[]; unit: string }) {
  return (
    <div class="scroll wide" tabIndex={0} aria-label="Positions">
      <table class="rows">
        <thead><tr><th>Instrument</th><th class="num">Quantity</th><th class="num">Entry <small>{unit}</small></th>
          <th class="num">Mark <small>{unit}</small></th><th class="num">Value <small>{unit}</small></th>
          <th class="num">Profit <small>{unit}</small></th><th class="num">Liquidation <small>{unit}</small></th>
          <th class="num">In flight</th></tr></thead>
        <tbody>{rows.map((p) => (
          <tr key={p.instrument}><th scope="row">{p.instrument}</th>
            <td class={`num ${p.quantity.startsWith("-") ? "t-sell" : "t-buy"}`}>{whole(p.quantity)}</td>
            <td class="num">{whole(p.entry)}</td><td class="num">{whole(p.mark)}</td>
            <td class="num" title={whole(p.value)}>{short(p.value)}</td>
            <td class="num" title={whole(p.pnl)}>{short(p.pnl)}</td>
            <td class="num">{p.liquidation_price === null ? "none" : whole(p.liquidation_price)}</td>
            <td class="num">{whole(p.in_flight)}</td></tr>
        ))}</tbody>
      </table>
    </div>
  );
}
