// The live page: everything about the venue as it stands.
import { useEffect, useState } from "preact/hooks";
import { useCell } from "../base/cell";
import { span } from "../base/format";
import { useAge, useAnswer, type Got } from "../base/live";
import { go, place } from "../base/route";
import type { Alert, InstrumentNow, VenueNow } from "../base/types";
import { later } from "../ui/Later";
import { Accounts } from "./Accounts";
import { Cascade } from "./Cascade";
import { FlowPanel } from "./FlowPanel";
import { Fund } from "./Fund";
import { Instruments } from "./Instruments";
import { Kpis } from "./Kpis";
import { Liquidations } from "./Liquidations";
import { Alerts, Auctions, Deleveragings, EventLog, InFlight } from "./Lists";
import { Rung } from "./Rung";

const AccountDrawer = later(async () => (await import("./AccountDrawer")).AccountDrawer, "");

interface Props { venue: Got<VenueNow>; alerts: Got<Alert[]> }

export function Desk({ venue: got, alerts }: Props) {
  const venue = got.data;
  const unit = venue?.numeraire ?? "";
  const ts = venue?.ts ?? 0;
  const age = useAge("v1/venue");
  const list = useAnswer<InstrumentNow[]>("v1/instruments", { topics: ["health", "venue"], least: 700 });
  const { what } = useCell(place);
  const [open, setOpen] = useState<{ name: string; seq?: number | undefined } | null>(null);
  const symbols = (list.data ?? []).map((i) => i.symbol);
  const chosen = symbols.includes(what) ? what : symbols[0] ?? "";
  const show = (name: string, seq?: number) => setOpen({ name, seq });

  useEffect(() => {
    function keys(e: KeyboardEvent) {
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || document.querySelector("dialog[open]")) return;
      const by = { j: 1, k: -1 }[e.key];
      if (by && symbols.length) {
        const next = symbols[(symbols.indexOf(chosen) + by + symbols.length) % symbols.length];
        go("desk", next);
      }
    }
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [symbols.join(), chosen]);

  if (!venue) {
    return got.failure
      ? <p class="failure page" role="alert">The venue cannot be read: {got.failure.title}. {got.failure.hint} Trying again.</p>
      : <p class="empty page">Asking the service …</p>;
  }
  return (
    <>
      {got.failure && (
        <p class="failure" role="alert" data-banner>
          The service says: {got.failure.title}. {got.failure.hint} What is shown is {span(age ?? 0)} old; asking again.
        </p>
      )}
      <Kpis venue={venue} stale={(age ?? 0) > 30} />
      <div class="desk">
        <div class="col left">
          <Alerts got={alerts} ts={ts} />
          <Instruments got={list} chosen={chosen} onChoose={(symbol) => go("desk", symbol)} unit={unit} />
          <Rung venue={venue} />
          <Fund venue={venue} />
        </div>
        <div class="col centre">
          {chosen && <Cascade key={`c${chosen}`} symbol={chosen} unit={unit} />}
          {chosen && (
            <div class="pair">
              <Liquidations key={`l${chosen}`} symbol={chosen} unit={unit} />
              <FlowPanel key={`f${chosen}`} symbol={chosen} unit={unit} />
            </div>
          )}
          <Accounts unit={unit} label={venue.account_label} onOpen={(name) => show(name)} />
        </div>
        <div class="col right">
          <Auctions unit={unit} ts={ts} />
          <InFlight unit={unit} onOpen={show} />
          <Deleveragings venue={venue} onOpen={show} />
          <EventLog onOpen={show} />
        </div>
      </div>
      {open && <AccountDrawer key={`${open.name}@${open.seq ?? ""}`} name={open.name} seq={open.seq} unit={unit}
        onClose={() => setOpen(null)} />}
    </>
  );
}

export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}
