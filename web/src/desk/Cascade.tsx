// The cascade profile of the chosen instrument, now and over time.
import { useAnswer } from "../base/live";
import type { Profile, ProfileHistory } from "../base/types";
import { HeatMap } from "../ui/HeatMap";
import { Panel } from "../ui/Panel";

export function Cascade({ symbol, unit }: { symbol: string; unit: string }) {
  const at = `v1/instruments/${encodeURIComponent(symbol)}/profile`;
  const now = useAnswer<Profile>(at, { topics: ["venue", "health"], least: 500 });
  const got = useAnswer<ProfileHistory>(`${at}/history`, { topics: ["venue", "health"], least: 5000 });
  const seen = got.data && (got.data.mark.some((m) => m > 0) || Number(now.data?.mark) > 0);
  return (
    <Panel id="cascade" title={`Cascade profile ${symbol}`} path={at} got={got.failure ? got : now.failure ? now : got}
      unit="n: volume forced by each unit of forced volume, by distance from the mark"
      empty={got.data && !seen && "No profile yet: it is measured with the first price and the first depth."}>
      {got.data && seen && <HeatMap history={got.data} now={now.data} height={264} unit={unit} />}
    </Panel>
  );
}
