// Where liquidations wait, by price, and how much depth stands there to meet them.
import { useMemo, useState } from "preact/hooks";
import { fixed, price, short } from "../base/format";
import { useAnswer } from "../base/live";
import type { LiquidationMap } from "../base/types";
import { Panel } from "../ui/Panel";
import { Plot, type Line } from "../ui/Plot";

function summed(values: number[]): number[] {
  let sum = 0;
  return values.map((v) => (sum += v));
}

function columnsOf(map: LiquidationMap | undefined, cumulative: boolean) {
  if (!map?.mark) return { x: [], y: [[], [], [], []] };
  const { mark, width } = map;
  const take = cumulative ? summed : (v: number[]) => v;
  const k = map.forced_down.length;
  const below = map.forced_down.map((_, n) => mark * (1 - (n + 0.5) * width)).reverse();
  const above = map.forced_up.map((_, n) => mark * (1 + (n + 0.5) * width));
  const none = (n: number): null[] => Array.from({ length: n }, () => null);
  const up = map.forced_up.length;
  return {
    x: [...below, ...above],
    y: [
      [...take(map.forced_down).reverse(), ...none(up)],
      [...none(k), ...take(map.forced_up)],
      [...take(map.bid_depth).reverse(), ...none(up)],
      [...none(k), ...take(map.ask_depth)],
    ] as (number | null)[][],
  };
}

const LINES: Line[] = [
  { label: "forced sales", colour: "sell", kind: "bars" },
  { label: "forced purchases", colour: "buy", kind: "bars" },
  { label: "bids", colour: "ink", kind: "line" },
  { label: "asks", colour: "muted", kind: "line" },
];

export function Liquidations({ symbol, unit }: { symbol: string; unit: string }) {
  const path = `v1/instruments/${encodeURIComponent(symbol)}/liquidations`;
  const got = useAnswer<LiquidationMap>(path, { topics: ["venue", "health"], least: 1500 });
  const [cumulative, setCumulative] = useState(false);
  const map = got.data;
  const data = useMemo(() => columnsOf(map, cumulative), [map, cumulative]);
  const first = map && firstBreach(map);
  return (
    <Panel id="liquidations" title={`Liquidation map ${symbol}`} unit={`${symbol} by price in ${unit}`} path={path} got={got}
      empty={map && (!(map.mark > 0) ? "No price yet."
        : ![map.forced_down, map.forced_up, map.bid_depth, map.ask_depth].flat().some((v) => v > 0)
          && "Nobody would be liquidated within the range of the map, and no depth is known.")}
      tools={
        <span class="switch" role="group" aria-label="How quantities are shown">
          <button aria-pressed={!cumulative} onClick={() => setCumulative(false)}>per step</button>
          <button aria-pressed={cumulative} onClick={() => setCumulative(true)}>summed</button>
        </span>
      }>
      <Plot label={`Forced quantity of ${symbol} by price against the depth of the book`} lines={LINES} data={data}
        height={172} x="price" min={0} mark={map?.mark} markLabel="mark" />
      <p class="note">{map && (first === null
        ? `Depth meets what would be forced, step by step, within ${fixed(map.forced_down.length * map.width * 100, 0)} % below the mark.`
        : `${first!.away ? `From ${price(first!.at)} ${unit} (−${fixed(first!.away * 100, 1)} %)` : "At the mark already"} forced sales of ${short(first!.forced)} ${symbol} would meet ${short(first!.depth)} ${symbol} of bids.`)}
      </p>
    </Panel>
  );
}

function firstBreach(map: LiquidationMap) {
  const forced = summed(map.forced_down);
  const depth = summed(map.bid_depth);
  const k = forced.findIndex((f, n) => f > 0 && f > depth[n]!);
  return k < 0 ? null : {
    at: map.mark * (1 - k * map.width), away: k * map.width, forced: forced[k]!, depth: depth[k]!,
  };
}
