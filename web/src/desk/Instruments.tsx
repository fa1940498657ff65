// Every instrument in one line; the chosen one fills the charts beside it.
import { useEffect, useRef } from "preact/hooks";
import { fixed, short, whole, words } from "../base/format";
import type { Got } from "../base/live";
import type { InstrumentNow } from "../base/types";
import { Panel } from "../ui/Panel";

interface Props {
  got: Got<InstrumentNow[]>; chosen: string; onChoose: (symbol: string) => void; unit: string;
}

export function Instruments({ got, chosen, onChoose, unit }: Props) {
  const rows = got.data ?? [];
  const list = useRef<HTMLTableSectionElement>(null);
  const walked = useRef(false);
  useEffect(() => {
    if (!walked.current) return;
    walked.current = false;
    list.current?.querySelector<HTMLElement>("[aria-selected=true] button")?.focus();
  }, [chosen]);
  function walk(e: KeyboardEvent) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    const here = rows.findIndex((row) => row.symbol === chosen);
    const next = by && rows[here + by];
    if (!next) return;
    e.preventDefault();
    walked.current = true;
    onChoose(next.symbol);
  }
  const one = rows.find((row) => row.symbol === chosen);
  return (
    <Panel id="instruments" title="Instruments" unit={`marks in ${unit}`} path="v1/instruments" got={got}
      empty={got.data && !rows.length && "This venue has no instruments."}>
      <div class="scroll" style={{ maxHeight: "208px" }} tabIndex={-1}>
        <table class="rows pick">
          <thead><tr><th>Symbol</th><th class="num">Mark</th><th class="num" title="near branching ratio">n</th>
            <th class="num" title="move in the window, in standard deviations">Move σ</th></tr></thead>
          <tbody ref={list} onKeyDown={walk}>
            {rows.map((row) => (
              <tr key={row.symbol} aria-selected={row.symbol === chosen} onClick={() => onChoose(row.symbol)}>
                <th scope="row"><button aria-pressed={row.symbol === chosen}>{row.symbol}</button>
                  {row.quality !== "good" && <span class="chip warn" title="quality of the price">{words(row.quality)}</span>}
                  {row.paused.length > 0 && <span class="chip warn" title={`paused: ${row.paused.map(words).join(", ")}`}>paused</span>}
                </th>
                <td class="num">{row.mark === "0" ? "no price" : whole(row.mark)}</td>
                <td class={`num ${row.branching >= 1 ? "t-alarm" : row.branching >= 0.5 ? "t-warn" : ""}`}>
                  {fixed(row.branching, 3)}</td>
                <td class={`num ${Math.abs(row.deviations) >= 6 ? "t-warn" : ""}`}>{fixed(row.deviations, 1)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {one && <Facts one={one} unit={unit} />}
    </Panel>
  );
}

function Facts({ one, unit }: { one: InstrumentNow; unit: string }) {
  const facts: [string, string, string][] = [
    ["Index", one.index === "0" ? "no price" : whole(one.index), one.index === "0" ? "" : unit],
    ["Price band", one.band_low === "0" && one.band_high === "0" ? "none"
      : `${whole(one.band_low)} – ${whole(one.band_high)}`, one.band_high === "0" ? "" : unit],
    ["Open long", short(one.long_open), one.symbol], ["Open short", short(one.short_open), one.symbol],
    ["Volatility", fixed(one.volatility * 100, 2), "% per √day"],
    ["Phase", words(one.phase), ""],
  ];
  return (
    <dl class="facts" aria-label={`${one.symbol} in detail`}>
      {facts.map(([name, value, u]) => (
        <div key={name}><dt>{name}</dt><dd>{value} <small>{u}</small></dd></div>
      ))}
    </dl>
  );
}
