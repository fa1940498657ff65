// The stage of one replay: transport, both stacks at the chosen moment, charts, the verdict.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { fixed, moment, percent, price, short, span, time, whole } from "../base/format";
import type { ReplayFrames, ReplayNow, VerdictRow } from "../base/types";
import { Panel } from "../ui/Panel";
import { Plot, type Line } from "../ui/Plot";
import { typing } from "../desk/Desk";
import { rowAt, useFrames } from "./frames";

type Name = Exclude<keyof ReplayFrames, "ts" | "marks">;

interface Measure {
  key: Name; label: string; unit: string; better: "less" | "more"; kind: "line" | "step";
  text: (v: number) => string; min?: number; max?: number;
  axis?: (v: number) => string; arcsinh?: boolean;
}

const SPEEDS = [1, 10, 30, 60, 300, 1800];

function measures(money: string): Measure[] {
  const count = (v: number) => whole(v);
  return [
    { key: "branching", label: "Branching ratio n", unit: "", better: "less", kind: "line", text: (v) => fixed(v, 3), axis: short, min: 0, max: 1, arcsinh: true },
    { key: "rung", label: "Rung", unit: "", better: "less", kind: "step", text: count, min: 0, max: 4 },
    { key: "forced", label: "Forced flow", unit: `${money} per step`, better: "less", kind: "step", text: short, min: 0 },
    { key: "in_flight", label: "Orders in flight", unit: "orders", better: "less", kind: "step", text: count, min: 0 },
    { key: "liquidatable", label: "Liquidatable", unit: "accounts", better: "less", kind: "step", text: count, min: 0 },
    { key: "bankrupt", label: "Bankrupt", unit: "accounts", better: "less", kind: "step", text: count, min: 0 },
    { key: "bad_debt", label: "Bad debt", unit: money, better: "less", kind: "step", text: short, min: 0 },
    { key: "fund", label: "Insurance fund", unit: money, better: "more", kind: "step", text: short },
    { key: "deleveraged", label: "Deleveraged", unit: money, better: "less", kind: "step", text: short, min: 0 },
  ];
}

export function Stage({ replay }: { replay: ReplayNow }) {
  const frames = useFrames(replay);
  const [a = "", b = ""] = replay.stacks;
  const [begin, end] = [replay.begin / 1e9, replay.end / 1e9];
  const [at, setAt] = useState(begin);
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(60);
  const symbols = Object.keys(frames[a]?.marks ?? {});
  const [wanted, setWanted] = useState("");
  const symbol = symbols.includes(wanted) ? wanted : symbols[0] ?? "";
  const money = replay.numeraire ?? "numeraire";
  const known = Math.min(...replay.stacks.map((s) => (frames[s]?.ts.at(-1) ?? replay.begin) / 1e9));
  usePlayer(playing, speed, known, end, setAt, () => setPlaying(false));

  const step = useMemo(() => {
    const ts = frames[a]?.ts ?? [];
    return ts.length > 1 ? (ts.at(-1)! - ts[0]!) / (ts.length - 1) / 1e9 : 1;
  }, [frames, a]);
  const move = (to: number) => setAt(Math.max(begin, Math.min(end, to)));
  const play = () => {
    if (!playing && at >= end) setAt(begin);
    setPlaying(!playing);
  };
  const acts = useRef({ play, move, at, step, speed });
  acts.current = { play, move, at, step, speed };
  useEffect(() => {
    function keys(e: KeyboardEvent) {
      const t = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
      if (typing(t) && !(t as HTMLInputElement).matches("[type=range]")) return;
      const n = acts.current;
      const by = n.step * (e.shiftKey ? 10 : 1);
      if (e.key === " " && !t.matches("button, summary, a")) n.play();
      else if (e.key === "ArrowRight") n.move(n.at + by);
      else if (e.key === "ArrowLeft") n.move(n.at - by);
      else if (e.key === "Home") n.move(begin);
      else if (e.key === "End") n.move(end);
      else if (e.key === "+" || e.key === "-") {
        const k = SPEEDS.indexOf(n.speed) + (e.key === "+" ? 1 : -1);
        setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, k))]!);
      } else return;
      e.preventDefault();
    }
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [begin, end]);

  if (replay.state === "failed") {
    return <p class="failure page" role="alert">This replay failed: {replay.detail || "no reason was given"}.</p>;
  }
  return (
    <>
      <section class="transport" aria-label="Transport" id="transport" tabIndex={-1}>
        <button class="primary" aria-pressed={playing} onClick={play}>{playing ? "Pause" : "Play"}</button>
        <label class="speed">Speed
          <select value={speed} onChange={(e) => setSpeed(Number(e.currentTarget.value))}>
            {SPEEDS.map((s) => <option key={s} value={s}>{s} ×</option>)}</select></label>
        <output class="now"><b data-replay="time">{time(at * 1e9)}</b> <small>{moment(at * 1e9).slice(0, 10)} UTC · {span(at - begin)} in</small></output>
        <div class="slider">
          <input type="range" min={begin} max={end} step="any" value={at} aria-label="Moment of the replay"
            aria-valuetext={`${time(at * 1e9)} UTC`} onInput={(e) => move(Number(e.currentTarget.value))} />
          <div class="known" style={{ width: `${end > begin ? Math.max(0, Math.min(100, (100 * (known - begin)) / (end - begin))) : 0}%` }} />
        </div>
        <span class="chip" role="status">{replay.state === "running" ? `replaying, ${percent(replay.progress, 0)}` : `${whole(replay.frames)} steps`}</span>
      </section>
      <div class="sides">
        <div class="col">
          <Difference frames={frames} names={[a, b]} at={at} rows={measures(money)} />
          {replay.state === "done" && <Verdicts rows={replay.verdict ?? []} names={[a, b]} />}
        </div>
        <Charts frames={frames} names={[a, b]} at={at} begin={begin} end={end} onPick={move} symbol={symbol}
          symbols={symbols} onSymbol={setWanted} rows={measures(money)} money={money} />
      </div>
    </>
  );
}

function usePlayer(playing: boolean, speed: number, known: number, end: number,
  setAt: (f: (at: number) => number) => void, stop: () => void) {
  useEffect(() => {
    if (!playing) return;
    let last = performance.now();
    let turn = requestAnimationFrame(function next(now) {
      const by = ((now - last) / 1000) * speed;
      last = now;
      let over = false;
      // While it still runs, one waits at the last row that is known for both.
      setAt((at) => {
        const to = Math.min(at + by, Math.max(at, known), end);
        over = to >= end;
        return to;
      });
      if (over) stop();
      else turn = requestAnimationFrame(next);
    });
    return () => cancelAnimationFrame(turn);
  }, [playing, speed, known, end]);
}

interface Both { frames: Record<string, ReplayFrames>; names: [string, string]; at: number; rows: Measure[] }

function Difference({ frames, names, at, rows }: Both) {
  const here = names.map((n) => rowAt(frames[n]?.ts ?? [], at * 1e9));
  return (
    <Panel id="difference" title="At this moment" path={null}>
      <table class="rows compare">
        <thead><tr><th>Measure</th>
          {names.map((n, k) => <th key={n} class="num"><i class="swatch" style={{ color: `var(--${k ? "b" : "a"})` }} />{n}</th>)}
          <th class="num">{names[1]} − {names[0]}</th></tr></thead>
        <tbody>{rows.map((m) => {
          const [x, y] = names.map((n, k) => frames[n]?.[m.key][here[k]!]);
          const by = x === undefined || y === undefined ? undefined : y - x;
          const good = by === undefined || by === 0 ? "" : (by < 0) === (m.better === "less") ? "good" : "bad";
          return (
            <tr key={m.key} data-measure={m.key}>
              <th scope="row">{m.label} <small>{m.unit}</small></th>
              {[x, y].map((v, k) => <td key={k} class="num" title={whole(v)}>{v === undefined ? "–" : m.text(v)}</td>)}
              <td class={`num d-${good}`}>{by === undefined ? "–" : by === 0 ? "same" : `${by > 0 ? "+" : ""}${m.text(by)}`}
                {good && <span class="sign" title={good === "good" ? `${names[1]} is better` : `${names[0]} is better`}>{good === "good" ? " ✓" : " ✗"}</span>}</td>
            </tr>
          );
        })}</tbody>
      </table>
      <p class="note">✓ and ✗ say whether {names[1]} stands better or worse than {names[0]}.</p>
    </Panel>
  );
}

interface ChartsProps extends Both {
  begin: number; end: number; onPick: (at: number) => void; symbol: string; symbols: string[];
  onSymbol: (s: string) => void; money: string;
}

/** Both stacks on the union of their times: each holds its last value until its next row. */
function union(frames: Record<string, ReplayFrames>, names: string[], of: (f: ReplayFrames) => (number | null)[] | undefined) {
  const ts = [...new Set(names.flatMap((n) => frames[n]?.ts ?? []))].sort((x, y) => x - y);
  const y = names.map((n) => {
    const f = frames[n];
    const values = f && of(f);
    if (!f || !values) return ts.map(() => null);
    let k = -1;
    return ts.map((t) => {
      while (k + 1 < f.ts.length && f.ts[k + 1]! <= t) k++;
      return k < 0 || t > f.ts.at(-1)! ? null : values[k] ?? null;
    });
  });
  return { x: ts.map((t) => t / 1e9), y };
}

function Charts(p: ChartsProps) {
  const lines = (kind: "line" | "step"): Line[] => p.names.map((label, k) => ({ label, colour: k ? "b" : "a", kind }));
  const marks = useMemo(() => union(p.frames, p.names, (f) => f.marks[p.symbol]), [p.frames, p.symbol]);
  const range: [number, number] = [p.begin, Math.max(p.end, p.begin + 1)];
  return (
    <div class="charts">
      <Panel id="chart-mark" title={`Mark ${p.symbol}`} unit={p.money} path={null} tools={
        <select aria-label="Instrument" value={p.symbol} onChange={(e) => p.onSymbol(e.currentTarget.value)}>
          {p.symbols.map((s) => <option key={s} value={s}>{s}</option>)}</select>}>
        <Plot label={`Mark of ${p.symbol} under both stacks`} lines={lines("line")} data={marks} height={96} format={price}
          mark={p.at} onPick={p.onPick} xRange={range} group="replay" />
      </Panel>
      {p.rows.map((m) => <Chart key={m.key} m={m} lines={lines(m.kind)} range={range} {...p} />)}
    </div>
  );
}

function Chart({ m, lines, range, frames, names, at, onPick }: ChartsProps & { m: Measure; lines: Line[]; range: [number, number] }) {
  const data = useMemo(() => union(frames, names, (f) => f[m.key]), [frames, m.key]);
  return (
    <Panel id={`chart-${m.key}`} title={m.label} unit={m.unit || undefined} path={null}>
      <Plot label={`${m.label} under both stacks`} lines={lines} data={data} height={96} format={m.text}
        mark={at} onPick={onPick} xRange={range} group="replay"
        {...(m.axis ? { axis: m.axis } : {})} {...(m.arcsinh ? { arcsinh: true } : {})}
        {...(m.min === undefined ? {} : { min: m.min })} {...(m.max === undefined ? {} : { max: m.max })} />
    </Panel>
  );
}

function Verdicts({ rows, names }: { rows: VerdictRow[]; names: [string, string] }) {
  return (
    <Panel id="verdict" title="Verdict" unit="over the whole recording" path={null}
      empty={!rows.length && "The service sent no verdict."}>
      <table class="rows compare">
        <thead><tr><th>Measure</th>{names.map((n) => <th key={n} class="num">{n}</th>)}<th class="num">Difference</th></tr></thead>
        <tbody>{rows.map((row) => {
          const [x, y] = names.map((n) => row.values[n] ?? null);
          const by = x === null || y === null || x === undefined || y === undefined ? null : y - x;
          const good = !by || !row.better ? "" : (by < 0) === (row.better === "less") ? "good" : "bad";
          return (
            <tr key={row.key} data-verdict={row.key}><th scope="row">{row.label} <small>{row.unit}</small></th>
              {[x, y].map((v, k) => <td key={k} class="num" title={whole(v)}>{v === null ? "–" : short(v)}</td>)}
              <td class={`num d-${good}`}>{by === null ? "–" : by === 0 ? "same" : `${by > 0 ? "+" : ""}${short(by)}`}
                {good && <span class="sign">{good === "good" ? " ✓" : " ✗"}</span>}</td></tr>
          );
        })}</tbody>
      </table>
    </Panel>
  );
}
