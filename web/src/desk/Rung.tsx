// On which rung the breaker stands, why, since when, and where it stood before.
import { alarm, moment, span, time, words } from "../base/format";
import { rungsHeard, useAnswer } from "../base/live";
import { useCell } from "../base/cell";
import type { RungMove, VenueNow } from "../base/types";
import { Panel } from "../ui/Panel";

const NAMES = ["normal", "caution", "reduce_only", "auction_only", "halt"]; // the engine's ladder

export function Rung({ venue }: { venue: VenueNow | undefined }) {
  const kept = useAnswer<RungMove[]>("v1/rungs", { topics: ["rungs"], least: 1000 });
  const heard = useCell(rungsHeard);
  const moves = kept.data ? [...kept.data].sort((a, b) => b.seq - a.seq) : heard;
  if (!venue) return <Panel id="rung" title="Breaker" path="v1/venue" got={{ data: undefined, at: 0, failure: undefined }} />;
  const steps = Array.from({ length: venue.rungs }, (_, k) => venue.rungs - 1 - k);
  return (
    <Panel id="rung" title="Breaker" unit={`rung ${venue.rung} of ${venue.rungs - 1}`} path="v1/venue">
      <div class="ladder-box">
        <ol class="ladder" aria-label="Rungs, highest first">
          {steps.map((k) => (
            <li key={k} class={`rung${k}`} aria-current={k === venue.rung ? "step" : undefined}>
              <b>{k}</b> {words(k === venue.rung ? venue.rung_name : NAMES[k] ?? "")}
            </li>
          ))}
        </ol>
        <dl class="why">
          <dt>Why</dt>
          <dd data-kpi="rung_reason">{venue.rung_reason ? words(venue.rung_reason) : "no alarm"}</dd>
          <dt>Measured</dt><dd>{alarm(venue.rung_reason, venue.rung_value) || "–"}</dd>
          <dt>For</dt>
          <dd title={`since ${moment(venue.rung_since)} UTC`}>
            {venue.rung_since > 0 ? span((venue.ts - venue.rung_since) / 1e9) : "–"}</dd>
        </dl>
      </div>
      <h3>Before</h3>
      {moves.length === 0 ? (
        <p class="empty">{kept.data ? "The breaker has not moved yet."
          : "No move heard since this page was opened."}</p>
      ) : (
        <ol class="moves scroll" style={{ maxHeight: "118px" }} tabIndex={0} aria-label="Moves of the breaker, newest first">
          {moves.map((m) => (
            <li key={m.seq} title={`seq ${m.seq}, ${moment(m.ts)} UTC`}>
              <time>{time(m.ts)}</time><i class={`dot rung${m.rung}`} />
              <span>{m.rung} {words(m.name)}</span><small>{words(m.reason)} {alarm(m.reason, m.value)}</small>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
