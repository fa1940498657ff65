// A recording under two stacks: the same weather, both fates over one another, at any moment of it.
import { useEffect, useState } from "preact/hooks";
import { useCell } from "../base/cell";
import { again, useAnswer } from "../base/live";
import { ask, Refused } from "../base/api";
import { moment, percent, whole } from "../base/format";
import { go, place } from "../base/route";
import type { ReplayNow, Shelf } from "../base/types";
import { Panel } from "../ui/Panel";
import { Stage } from "./Stage";

export function Replay() {
  const { what } = useCell(place);
  const shelf = useAnswer<Shelf>("v1/recordings", { topics: [], least: 5000 });
  const list = useAnswer<ReplayNow[]>("v1/replays", { topics: [], least: 2000, idle: 4000 });
  const here = what || list.data?.[0]?.id || "";
  const path = here ? `v1/replays/${encodeURIComponent(here)}` : null;
  const listed = list.data?.find((r) => r.id === here);
  const one = useAnswer<ReplayNow>(path, {
    topics: [], least: 700, ...(listed && listed.state !== "running" ? {} : { idle: 900 }),
  });
  return (
    <div class="replay">
      <div class="col left">
        <Panel id="new-replay" title="New replay" path="v1/recordings" got={shelf}
          missing="This service keeps no recordings: start it with a folder of them."
          empty={shelf.data && !shelf.data.recordings.length && "The folder of recordings is empty."}>
          {shelf.data && <Start shelf={shelf.data} onStarted={(id) => { again("v1/replays"); go("replay", id); }} />}
        </Panel>
        <Panel id="replays" title="Replays" path="v1/replays" got={list} missing="This service replays nothing."
          empty={list.data && !list.data.length && "No replay was started yet."}>
          <ul class="replays">{(list.data ?? []).map((r) => (r.id === one.data?.id ? one.data : r)).map((r) => (
            <li key={r.id}>
              <button aria-pressed={r.id === here} onClick={() => go("replay", r.id)}>
                <b>{r.recording}</b> <small>{r.stacks.join(" against ")}</small>
                <span class={`chip ${r.state === "failed" ? "alarm" : r.state === "done" ? "good" : ""}`}>
                  {r.state === "running" ? percent(r.progress, 0) : r.state}</span>
              </button>
            </li>
          ))}</ul>
        </Panel>
      </div>
      <div class="col stage">
        {one.data ? <Stage key={one.data.id} replay={one.data} />
          : one.failure ? <p class="failure page" role="alert">{one.failure.title}. {one.failure.hint}</p>
          : <p class="empty page">{path ? "Asking for the replay …"
            : "Choose a recording and two stacks: both meet the same prices, depth and flows."}</p>}
      </div>
    </div>
  );
}

function Start({ shelf, onStarted }: { shelf: Shelf; onStarted: (id: string) => void }) {
  const [recording, setRecording] = useState(shelf.recordings[0]?.name ?? "");
  const [a, setA] = useState(shelf.stacks[0] ?? "");
  const [b, setB] = useState(shelf.stacks[1] ?? shelf.stacks[0] ?? "");
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const chosen = shelf.recordings.find((r) => r.name === recording);
  useEffect(() => setSaid(""), [recording, a, b]);
  async function start(e: Event) {
    e.preventDefault();
    setBusy(true);
    try {
      const { id } = await ask<{ id: string }>("v1/replays", { recording, stacks: [a, b] });
      onStarted(id);
    } catch (error) {
      setSaid(error instanceof Refused ? `${error.failure.title}. ${error.failure.hint}` : String(error));
    } finally {
      setBusy(false);
    }
  }
  const stack = (label: string, tone: string, value: string, set: (v: string) => void) => (
    <label><span><i class="swatch" style={{ color: `var(--${tone})` }} />{label}</span>
      <select value={value} onChange={(e) => set(e.currentTarget.value)}>
        {shelf.stacks.map((s) => <option key={s} value={s}>{s}</option>)}</select></label>
  );
  return (
    <form class="start" onSubmit={(e) => void start(e)}>
      <label><span>Recording</span>
        <select value={recording} onChange={(e) => setRecording(e.currentTarget.value)}>
          {shelf.recordings.map((r) => <option key={r.name} value={r.name}>{r.title ?? r.name}</option>)}</select></label>
      {chosen?.events !== undefined && <p class="note">{whole(chosen.events)} events
        {chosen.begin ? `, ${moment(chosen.begin)} UTC` : ""}</p>}
      {stack("Stack A", "a", a, setA)}
      {stack("Stack B", "b", b, setB)}
      <button class="primary" disabled={busy || !recording || !a || !b || a === b}>Replay both</button>
      {a === b && <p class="note">Choose two different stacks.</p>}
      {said && <p class="failure" role="alert">{said}</p>}
    </form>
  );
}
