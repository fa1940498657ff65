// Orders in flight, one a line; an account's name opens it.
import { moment, time, whole, words } from "../base/format";
import type { OrderNow } from "../base/types";

export function Orders({ rows, unit, onOpen }: { rows: OrderNow[]; unit: string; onOpen?: (name: string) => void }) {
  return (
    <table class="rows">
      <thead><tr><th>Placed</th>{onOpen && <th>Account</th>}<th>Instrument</th><th class="num">Quantity</th>
        <th class="num">Limit <small>{unit}</small></th><th>Route</th></tr></thead>
      <tbody>{rows.map((o) => (
        <tr key={o.order}><td title={moment(o.placed_at)}>{time(o.placed_at)}</td>
          {onOpen && <td><button class="link" onClick={() => onOpen(o.account)}>{o.account}</button></td>}
          <td>{o.instrument}</td>
          <td class={`num ${o.quantity.startsWith("-") ? "t-sell" : "t-buy"}`}>{whole(o.quantity)}</td>
          <td class="num">{whole(o.limit)}</td><td>{words(o.route)}</td></tr>
      ))}</tbody>
    </table>
  );
}
