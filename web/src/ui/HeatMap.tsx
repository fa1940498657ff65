// The cascade profile over time: time across, distance from the mark up and down, n as the colour.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useCell } from "../base/cell";
import { fixed, price, time, whole } from "../base/format";
import { colour, theme } from "../base/theme";
import type { Profile, ProfileHistory } from "../base/types";

interface Props { history: ProfileHistory; now: Profile | undefined; height: number; unit: string }

interface Row { ts: number; mark: number; down: number[]; up: number[] }

const LEFT = 46;
const FOOT = 20;
const SIDE = 0.16; // of the width: the profile as it is now

/** Where a value stands on the scale of colours: n = 1 at 62 % of it, the largest at the end. */
export function share(n: number, most: number): number {
  if (n <= 0) return 0;
  if (n <= 1) return 0.62 * Math.sqrt(n);
  return most <= 1 ? 0.62 : 0.62 + 0.38 * Math.min(1, Math.log(n) / Math.log(most));
}

function ramp(): number[][] {
  const stops = ["heat0", "heat1", "heat2", "heat3", "heat4", "heat5"].map((name) => {
    const hex = colour(name).replace("#", "");
    return [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16));
  });
  return Array.from({ length: 256 }, (_, k) => {
    const at = (k / 255) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(at));
    return [0, 1, 2].map((c) => stops[low]![c]! + (stops[low + 1]![c]! - stops[low]![c]!) * (at - low));
  });
}

function rowsOf(history: ProfileHistory, now: Profile | undefined): Row[] {
  const rows = history.ts.map((ts, k) => ({
    ts, mark: history.mark[k]!, down: history.down[k]!, up: history.up[k]!,
  }));
  const last = rows.at(-1);
  if (now && (!last || now.ts > last.ts)) {
    rows.push({ ts: now.ts, mark: Number(now.mark), down: now.down, up: now.up });
  }
  return rows.filter((row) => row.mark > 0); // before the first price nothing was measured
}

export function HeatMap({ history, now, height, unit }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [cross, setCross] = useState<{ x: number; y: number } | null>(null);
  const dress = useCell(theme);
  const rows = useMemo(() => rowsOf(history, now), [history, now]);
  const buckets = rows.at(-1)?.down.length ?? 0;
  const most = useMemo(() => {
    let top = 1.5;
    for (const row of rows) for (const side of [row.down, row.up]) for (const n of side) if (n > top) top = n;
    return top;
  }, [rows]);
  const begin = rows[0]?.ts ?? 0;
  const end = rows.at(-1)?.ts ?? 1;
  const plot = Math.max(10, (width - LEFT) * (1 - SIDE));
  const tall = height - FOOT;

  useLayoutEffect(() => {
    const eye = new ResizeObserver(([b]) => setWidth(Math.floor(b?.contentRect.width ?? 0)));
    if (box.current) eye.observe(box.current);
    return () => eye.disconnect();
  }, []);

  const gap = useMemo(() => {
    const steps = rows.slice(1).map((row, k) => row.ts - rows[k]!.ts).sort((a, b) => a - b);
    return 12 * (steps[steps.length >> 1] ?? Infinity);
  }, [rows]);

  const column = (x: number): number => {
    const ts = begin + ((end - begin) * x) / Math.max(1, plot - 1);
    let [low, high] = [0, rows.length - 1];
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (rows[mid]!.ts <= ts) low = mid;
      else high = mid - 1;
    }
    return rows.length && ts - rows[low]!.ts <= gap ? low : -1;
  };

  useEffect(() => {
    const sheet = canvas.current;
    const pen = sheet?.getContext("2d");
    if (!sheet || !pen || width < 80 || !buckets) return;
    const dots = devicePixelRatio || 1;
    sheet.width = width * dots;
    sheet.height = height * dots;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    const colours = ramp();
    const wide = Math.max(1, Math.floor(plot));
    const image = new ImageData(wide, 2 * buckets);
    for (let x = 0; x < wide; x++) {
      const k = column(x);
      if (k < 0) continue;
      for (let y = 0; y < 2 * buckets; y++) {
        const n = y < buckets ? rows[k]!.up[buckets - 1 - y] : rows[k]!.down[y - buckets];
        const [r, g, b] = colours[Math.round(255 * share(n ?? 0, most))]!;
        image.data.set([r!, g!, b!, 255], 4 * (y * wide + x));
      }
    }
    const copy = document.createElement("canvas");
    copy.width = wide;
    copy.height = 2 * buckets;
    copy.getContext("2d")?.putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(copy, LEFT, 0, plot, tall);
    axes(pen);
    side(pen, colours);
  }, [rows, width, height, dress, most, history.width]);

  function y(bucket: number): number {
    return tall / 2 - (bucket * tall) / (2 * buckets); // of the edge `bucket` above the mark
  }

  function axes(pen: CanvasRenderingContext2D) {
    pen.font = '11px -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';
    pen.fillStyle = colour("muted");
    pen.strokeStyle = colour("ink");
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    const step = Math.max(1, Math.ceil(buckets / Math.max(1, Math.floor(tall / 2 / 26))));
    for (let k = -Math.floor(buckets / step) * step; k <= buckets; k += step) {
      const away = k * history.width * 100;
      const label = k === 0 ? "mark" : `${away > 0 ? "+" : "−"}${fixed(Math.abs(away), away % 1 ? 1 : 0)} %`;
      pen.fillText(label, LEFT - 5, Math.min(tall - 6, Math.max(6, y(k))));
    }
    pen.globalAlpha = 0.7;
    pen.setLineDash([3, 3]);
    pen.beginPath();
    pen.moveTo(LEFT, tall / 2);
    pen.lineTo(width, tall / 2);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    pen.textBaseline = "alphabetic";
    const count = Math.max(2, Math.floor(plot / 110));
    for (let k = 0; k < count; k++) {
      const x = (k / (count - 1)) * plot;
      pen.textAlign = k === 0 ? "left" : k === count - 1 ? "right" : "center";
      pen.fillText(time(begin + ((end - begin) * k) / (count - 1)), LEFT + x, height - 5);
    }
    pen.textAlign = "left";
    pen.fillText("now", LEFT + plot + 10, height - 5);
  }

  function side(pen: CanvasRenderingContext2D, colours: number[][]) {
    const row = rows.at(-1);
    if (!row) return;
    const from = LEFT + plot + 10;
    const room = width - from - 2;
    const bar = tall / (2 * buckets);
    const one = from + room * 0.62;
    for (let k = 0; k < buckets; k++) {
      for (const [n, top] of [[row.up[k]!, y(k + 1)], [row.down[k]!, y(-k)]] as const) {
        if (!(n > 0)) continue;
        const [r, g, b] = colours[Math.round(255 * Math.max(0.25, share(n, most)))]!;
        pen.fillStyle = `rgb(${r}, ${g}, ${b})`;
        pen.fillRect(from, top + 0.5, Math.max(1.5, room * share(n, most)), Math.max(1, bar - 1));
      }
    }
    pen.strokeStyle = colour("muted");
    pen.beginPath();
    pen.moveTo(from - 0.5, 0);
    pen.lineTo(from - 0.5, tall);
    pen.stroke();
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(one, 0);
    pen.lineTo(one, tall);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = colour("muted");
    pen.textAlign = "center";
    pen.fillText("n 1", one, height - 5);
  }

  const bucketAt = (py: number) => Math.max(-buckets, Math.min(buckets - 1,
    Math.floor(((tall / 2 - py) * 2 * buckets) / tall)));
  let told = "";
  let tip: { x: number; y: number } | null = null;
  const aim = cross && rows.length ? cross : null;
  if (aim) {
    const here = aim.x >= plot ? rows.length - 1 : column(Math.max(0, aim.x));
    const bucket = bucketAt(aim.y);
    const row = rows[here];
    if (row) {
      const n = bucket >= 0 ? row.up[bucket] : row.down[-bucket - 1];
      const edge = [bucket, bucket + 1].map((k) => row.mark * (1 + k * history.width));
      told = `${time(row.ts)}  ${fixed(bucket * history.width * 100, 1)} to ${
        fixed((bucket + 1) * history.width * 100, 1)} %  (${price(edge[0]!)} to ${price(edge[1]!)} ${unit})  n ${fixed(n ?? 0, 3)}`;
      tip = aim;
    } else told = "not measured then";
  }
  const last = rows.at(-1);
  const peak = last ? Math.max(0, ...last.down, ...last.up) : 0;

  function move(e: MouseEvent) {
    const at = canvas.current!.getBoundingClientRect();
    setCross({ x: e.clientX - at.left - LEFT, y: Math.min(tall - 1, e.clientY - at.top) });
  }
  function keys(e: KeyboardEvent) {
    const from = cross ?? { x: plot - 1, y: tall / 2 + 1 };
    const [dx, dy] = ({ ArrowLeft: [-plot / 60, 0], ArrowRight: [plot / 60, 0],
      ArrowUp: [0, -tall / (2 * buckets)], ArrowDown: [0, tall / (2 * buckets)] } as
      Record<string, [number, number]>)[e.key] ?? [0, 0];
    if (!dx && !dy) return;
    e.preventDefault();
    setCross({ x: Math.max(0, Math.min(plot + 12, from.x + dx)), y: Math.max(0, Math.min(tall - 1, from.y + dy)) });
  }
  return (
    <figure class="heat">
      <figcaption class="legend">
        <span class="scale" aria-hidden="true"><b>n</b> 0<i />1<i />{fixed(most, most < 10 ? 1 : 0)}</span>
        <span class="when" aria-live="polite">{told
          || `now: n ${fixed(now?.near ?? history.near.at(-1) ?? 0, 3)} near the mark ${whole(now?.mark ?? last?.mark)} ${unit}, largest ${fixed(peak, 2)}`}</span>
      </figcaption>
      <div ref={box} class="canvas" style={{ height: `${height}px` }}>
        <canvas ref={canvas} tabIndex={0} role="img" style={{ width: "100%", height: `${height}px` }}
          aria-label={`Cascade profile of ${history.symbol} over time: n for each step away from the mark; arrows move the cross`}
          onMouseMove={move} onMouseLeave={() => setCross(null)} onKeyDown={keys} onBlur={() => setCross(null)} />
        {tip && <div class="cross" style={{ transform: `translate(${LEFT + tip.x}px, ${tip.y}px)` }} />}
      </div>
    </figure>
  );
}
