// The venue in one line: what one looks at first, and from across the room.
import type { ComponentChildren } from "preact";
import { alarm, fixed, percent, short, whole, words } from "../base/format";
import type { VenueNow } from "../base/types";

interface Tile {
  id: string; label: string; value: ComponentChildren; unit?: string; sub?: string; tone?: string;
  full?: string; bar?: number;
}

function criticality(n: number): [string, string] {
  if (n >= 1) return ["alarm", "▲ feeds itself (n ≥ 1)"];
  if (n >= 0.5) return ["warn", "△ close to feeding itself"];
  return ["", "dies out (n < 0.5)"];
}

export function Kpis({ venue, stale }: { venue: VenueNow; stale: boolean }) {
  const money = venue.numeraire;
  const [tone, said] = criticality(venue.branching);
  const fund = Number(venue.fund);
  const peak = Number(venue.fund_peak);
  const share = Number(venue.required) > 0 ? Number(venue.distressed) / Number(venue.required) : 0;
  const tiles: Tile[] = [
    { id: "branching", label: "Branching ratio n", value: fixed(venue.branching, 3), tone, sub: said,
      full: String(venue.branching) },
    { id: "rung", label: "Rung", value: `${venue.rung} / ${venue.rungs - 1}`, tone: `rung${venue.rung}`,
      sub: [words(venue.rung_name), venue.rung > 0 ? alarm(venue.rung_reason, venue.rung_value) : ""]
        .filter(Boolean).join(" · ") },
    { id: "liquidatable", label: `Liquidatable ${plural(venue.account_label)}`, value: whole(venue.liquidatable),
      tone: venue.liquidatable > 0 ? "warn" : "", sub: `${percent(share, 2)} of all maintenance` },
    { id: "bankrupt", label: "Bankrupt", value: whole(venue.bankrupt),
      tone: venue.bankrupt > 0 ? "alarm" : "", sub: `of ${whole(venue.accounts)} ${plural(venue.account_label)}` },
    { id: "deficit", label: "Deficit", value: short(venue.deficit), unit: money, full: whole(venue.deficit),
      tone: Number(venue.deficit) > 0 ? "alarm" : "", sub: `${short(venue.lost)} ${money} lost so far` },
    { id: "fund", label: "Insurance fund", value: short(venue.fund), unit: money, full: whole(venue.fund),
      sub: `${percent(peak > 0 ? fund / peak : 0, 1)} of its peak`, bar: peak > 0 ? fund / peak : 0,
      tone: peak > 0 && fund / peak < 0.7 ? "warn" : "" },
    { id: "in_flight", label: "Orders in flight", value: whole(venue.in_flight),
      sub: `${whole(venue.positions)} positions` },
    { id: "required", label: "Maintenance of all", value: short(venue.required), unit: money,
      full: whole(venue.required), sub: `${short(venue.distressed)} ${money} distressed` },
  ];
  return (
    <section class={`kpis ${stale ? "old" : ""}`} aria-label="Venue now" id="venue" tabIndex={-1}>
      {tiles.map((t) => (
        <div key={t.id} class={`kpi ${t.tone ?? ""}`} data-kpi={t.id}>
          <span class="kpi-label">{t.label}</span>
          <span class="kpi-value" title={t.full && `${t.full} ${t.unit ?? ""}`}>
            {t.value}{t.unit && <small> {t.unit}</small>}
          </span>
          {t.bar !== undefined && (
            <span class="bar" aria-hidden="true"><i style={{ width: `${Math.min(100, 100 * t.bar)}%` }} /></span>
          )}
          <span class="kpi-sub">{t.sub}</span>
        </div>
      ))}
    </section>
  );
}

function plural(label: string): string {
  return label.endsWith("s") ? label : `${label}s`;
}
