// Lines over time or price: uPlot in the colours of the theme, with a legend that reads the cursor.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { useCell } from "../base/cell";
import { price, short, time } from "../base/format";
import { colour, theme } from "../base/theme";

export interface Line {
  label: string; colour: string; // the name of a variable of the stylesheet
  kind?: "line" | "step" | "bars"; dash?: boolean; fill?: boolean; width?: number;
  format?: (value: number) => string;
}

export interface Columns { x: ArrayLike<number>; y: ArrayLike<number | null>[] }

interface Props {
  label: string; // what the picture shows, for those who do not see it
  lines: Line[]; data: Columns; height: number;
  x?: "time" | "price"; format?: (value: number) => string; axis?: (value: number) => string;
  min?: number; max?: number; // the y range holds at least these
  mark?: number | undefined; // a line at this x, moved without drawing anew
  markLabel?: string; onPick?: (x: number) => void; xRange?: [number, number] | undefined;
  arcsinh?: boolean; // linear near zero, logarithmic further out
  group?: string; bare?: boolean; // without a legend: it is told elsewhere
}

const FONT = '11px -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';
const stepped = uPlot.paths.stepped!({ align: 1 });
const barred = uPlot.paths.bars!({ size: [0.86, 40], gap: 0 });

function clockTicks(_: uPlot, splits: number[], _a: number, _s: number, step: number): string[] {
  return splits.map((s) => step < 60 ? time(s * 1e9) : time(s * 1e9).slice(0, 5));
}

function soft(mask: string, alpha: number): string {
  return `color-mix(in srgb, ${mask} ${alpha}%, transparent)`;
}

function options(p: Props, width: number): uPlot.Options {
  const ink = colour("muted");
  const grid = { stroke: colour("grid"), width: 1 };
  const format = p.format ?? short;
  const decades = (_: uPlot, splits: number[]) => splits.map((v) =>
    (v === 0 || (v > 0 && Number.isInteger(Math.log10(v))) ? v : null));
  const axis = { stroke: ink, font: FONT, ticks: { ...grid, size: 3 }, grid };
  return {
    width, height: p.height, padding: [6, 8, 0, 0], legend: { show: false },
    tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"),
    cursor: {
      y: false, points: { size: 5 }, drag: { x: false, y: false },
      ...(p.group ? { sync: { key: p.group, setSeries: false } } : {}),
    },
    scales: {
      x: { time: false, ...(p.xRange ? { range: p.xRange } : {}) },
      y: {
        ...(p.arcsinh ? { distr: 4 as const, asinh: 1 } : {}),
        range: (_u, low, high) => {
          let [a, b] = [Math.min(low ?? 0, p.min ?? Infinity), Math.max(high ?? 1, p.max ?? -Infinity)];
          if (!Number.isFinite(a)) a = 0;
          if (!Number.isFinite(b)) b = 1;
          if (a === b) [a, b] = a === 0 ? [0, 1] : [a - Math.abs(a) * 0.01, b + Math.abs(b) * 0.01];
          const room = (b - a) * 0.06;
          return [a === p.min ? a : a - room, b + room];
        },
      },
    },
    axes: [
      { ...axis, size: 22, gap: 3, space: 56,
        values: p.x === "price" ? (_, s) => s.map((v) => price(v)) : clockTicks,
        ...(p.x === "price" ? {} : { incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800] }) },
      { ...axis, size: 52, gap: 4, space: 28,
        ...(p.arcsinh ? { filter: decades, grid: { ...grid, filter: decades } } : {}), values: (_, s) => s.map((v) => v === null ? "" : (p.axis ?? format)(v)) },
    ],
    series: [
      {},
      ...p.lines.map((line): uPlot.Series => {
        const stroke = colour(line.colour);
        return {
          label: line.label, stroke, width: line.width ?? (line.kind === "bars" ? 0 : 1.5),
          points: { show: false }, spanGaps: false,
          ...(line.dash ? { dash: [5, 4] } : {}),
          ...(line.kind === "step" ? { paths: stepped } : {}),
          ...(line.kind === "bars" ? { paths: barred, fill: soft(stroke, 78) } : {}),
          ...(line.fill ? { fill: soft(stroke, 16) } : {}),
        };
      }),
    ],
  };
}

/** The last place at or before a value; -1 before the first. */
function before(x: ArrayLike<number>, at: number): number {
  let [low, high] = [-1, x.length - 1];
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (x[mid]! <= at) low = mid;
    else high = mid - 1;
  }
  return low;
}

export function Plot(p: Props) {
  const hole = useRef<HTMLDivElement>(null);
  const line = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState<number | null>(null);
  const dress = useCell(theme);
  const shape = JSON.stringify([p.lines.map((l) => [l.label, l.colour, l.kind, l.dash, l.fill]),
    p.height, p.x, p.min, p.max, p.xRange, p.group, p.arcsinh]);
  const columns = useMemo(
    () => [p.data.x, ...p.data.y] as unknown as uPlot.AlignedData, [p.data]);

  useLayoutEffect(() => {
    const eye = new ResizeObserver(([box]) => setWidth(Math.floor(box?.contentRect.width ?? 0)));
    if (hole.current) eye.observe(hole.current);
    return () => eye.disconnect();
  }, []);

  const pick = useRef(p.onPick);
  pick.current = p.onPick;
  useLayoutEffect(() => {
    if (!hole.current || width < 40) return;
    const made = options(p, width);
    made.hooks = { setCursor: [(u) => setAt(u.cursor.idx ?? null)], draw: [() => place()] };
    const u = new uPlot(made, columns, hole.current);
    const click = (e: MouseEvent) => {
      const box = u.over.getBoundingClientRect();
      pick.current?.(u.posToVal(e.clientX - box.left, "x"));
    };
    u.over.addEventListener("pointerup", click); // uPlot keeps clicks to itself
    plot.current = u;
    place();
    return () => { u.destroy(); plot.current = undefined; };
  }, [shape, dress, width]);

  useEffect(() => plot.current?.setData(columns), [columns]);

  const mark = useRef(p.mark);
  mark.current = p.mark;
  function place() {
    const u = plot.current;
    const rule = line.current;
    if (!u || !rule) return;
    const x = mark.current === undefined ? NaN : u.valToPos(mark.current, "x");
    const inside = x >= -0.5 && x <= u.over.clientWidth + 0.5;
    rule.hidden = !inside;
    if (!inside) return;
    rule.style.transform = `translateX(${u.over.offsetLeft + x}px)`;
    rule.style.top = `${u.over.offsetTop}px`;
    rule.style.height = `${u.over.clientHeight}px`;
  }
  useLayoutEffect(place, [p.mark, width]);

  const size = p.data.x.length;
  const row = at !== null && at < size ? at
    : p.mark !== undefined && p.x !== "price" ? before(p.data.x, p.mark) : size - 1;
  const where = p.data.x[row] ?? 0;
  const format = p.format ?? short;
  const told = p.x !== "price" || at !== null; // the last column is the latest only along time
  return (
    <figure class="plot">
      {!p.bare && <figcaption class="legend">
        {p.lines.map((l, k) => {
          const value = p.data.y[k]?.[row];
          return (
            <span key={l.label} class="key">
              <i class={`swatch ${l.dash ? "dashed" : ""} ${l.kind ?? ""}`}
                style={{ color: `var(--${l.colour})` }} />
              {l.label}{told && <> <b>{value === null || value === undefined ? "–" : (l.format ?? format)(value)}</b></>}
            </span>
          );
        })}
        {told && size > 0 && (
          <span class="when">{p.x === "price" ? `at ${price(where)}` : time(where * 1e9)}</span>
        )}
      </figcaption>}
      <div class="canvas" role="img" aria-label={p.label}>
        <div ref={hole} style={{ height: `${p.height}px` }} />
        <div ref={line} class="rule" hidden>{p.markLabel && <span>{p.markLabel}</span>}</div>
      </div>
    </figure>
  );
}

