// The insurance fund by tranche: what is left of each, and how it went.
import { useMemo } from "preact/hooks";
import { percent, short, whole } from "../base/format";
import { useAnswer } from "../base/live";
import type { FundHistory, VenueNow } from "../base/types";
import { Panel } from "../ui/Panel";
import { Plot, type Line } from "../ui/Plot";

const COLOURS = ["c1", "c2", "c3", "c4", "c5"];

export function Fund({ venue }: { venue: VenueNow | undefined }) {
  const got = useAnswer<FundHistory>("v1/fund", { topics: ["fund"], least: 2000 });
  const tranches = venue?.tranches ?? [];
  const unit = venue?.numeraire ?? "";
  const lines: Line[] = tranches.map((t, k) => ({
    label: t.name, colour: COLOURS[k % COLOURS.length]!, kind: "step",
  }));
  const data = useMemo(() => {
    const kept = got.data;
    return {
      x: (kept?.ts ?? []).map((t) => t / 1e9),
      y: (kept?.tranches ?? []).map((_, k) => kept!.balance.map((row) => row[k] ?? null)),
    };
  }, [got.data]);
  return (
    <Panel id="fund" title="Insurance fund" unit={unit} path="v1/fund" got={got}
      empty={venue && !tranches.length && "This stack has no insurance fund."}>
      <ul class="tranches">
        {tranches.map((t, k) => {
          const left = Number(t.initial) > 0 ? Number(t.balance) / Number(t.initial) : 1;
          return (
            <li key={t.name} data-tranche={t.name}>
              <span><i class="swatch" style={{ color: `var(--${COLOURS[k % COLOURS.length]})` }} />{t.name}</span>
              <b class="num" title={`${whole(t.balance)} ${unit}`}>{short(t.balance)}</b>
              <small class="num" title={`of ${whole(t.initial)} ${unit} at the start`}>{percent(left, 1)}</small>
              <span class="bar"><i style={{ width: `${Math.max(0, Math.min(100, left * 100))}%`,
                background: `var(--${COLOURS[k % COLOURS.length]})` }} /></span>
            </li>
          );
        })}
      </ul>
      {data.x.length > 1 && data.y.length === lines.length && <Plot label="Balance of each tranche over time" lines={lines} data={data} height={92} min={0} bare />}
    </Panel>
  );
}
