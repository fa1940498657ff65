// Forced flow against what the throttle lets through.
import { useMemo } from "preact/hooks";
import { percent, short } from "../base/format";
import { useAnswer } from "../base/live";
import type { Flow } from "../base/types";
import { Panel } from "../ui/Panel";
import { Plot, type Line } from "../ui/Plot";

const LINES: Line[] = [
  { label: "ordered", colour: "sell", kind: "bars" },
  { label: "filled", colour: "c2", kind: "step" },
  { label: "waiting", colour: "c4", kind: "step" },
  { label: "in the bucket", colour: "ink", kind: "step" },
  { label: "bucket holds", colour: "ink", kind: "step", dash: true },
];

export function FlowPanel({ symbol, unit }: { symbol: string; unit: string }) {
  const path = `v1/instruments/${encodeURIComponent(symbol)}/flow`;
  const got = useAnswer<Flow>(path, { topics: ["flow", "orders", "venue"], least: 1500, idle: 5000 });
  const flow = got.data;
  const throttled = flow?.budget.some((b) => b !== null) ?? false;
  const data = useMemo(() => {
    const x = (flow?.ts ?? []).map((t) => t / 1e9);
    const y: (number | null)[][] = flow ? [flow.ordered, flow.filled, flow.waiting] : [[], [], []];
    if (throttled && flow) y.push(flow.spent, flow.budget);
    return { x, y };
  }, [flow]);
  const last = flow ? flow.ts.length - 1 : -1;
  const most = last >= 0 ? flow!.budget[last] : null;
  return (
    <Panel id="flow" title={`Forced flow ${symbol}`} unit={`${unit} since the row before`} path={path} got={got}
      empty={flow && !flow.ts.length && "Nothing was forced yet."}>
      <Plot label={`Forced orders of ${symbol}, fills and the throttle's bucket`}
        lines={throttled ? LINES : LINES.slice(0, 3)} data={data} height={172} min={0} />
      <p class="note">{last < 0 ? "" : most !== null && most !== undefined
        ? `The throttle's bucket holds ${short(flow!.spent[last])} of ${short(most)} ${unit} (${percent(most > 0 ? flow!.spent[last]! / most : 0, 0)}).`
        : "This stack does not throttle here."}</p>
    </Panel>
  );
}
