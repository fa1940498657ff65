// A table of any length: only the rows in sight exist. Sorted by a column, walked by keyboard.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { touched } from "../base/live";

export interface Col {
  key: string; label: string; unit?: string; text?: boolean; width: string; hide?: boolean;
  cell: (row: number) => string; full?: (row: number) => string;
}

interface Props {
  label: string; columns: Col[]; order: ArrayLike<number>; height: number;
  sort: { key: string; down: boolean }; onSort: (key: string) => void;
  onOpen: (row: number) => void; name: (row: number) => string;
  tone?: (row: number) => string;
}

const ROW = 24;
const BEYOND = 8;

export function VirtualTable(p: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [seen, setSeen] = useState(p.height);
  const [chosen, setChosen] = useState<string | null>(null);
  const frame = useRef(0);
  const size = p.order.length;

  useLayoutEffect(() => {
    const eye = new ResizeObserver(([box]) => setSeen(box?.contentRect.height ?? p.height));
    if (scroller.current) eye.observe(scroller.current);
    return () => eye.disconnect();
  }, []);
  useEffect(() => () => cancelAnimationFrame(frame.current), []);

  function scrolled() {
    touched();
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => setTop(scroller.current?.scrollTop ?? 0));
  }

  const first = Math.max(0, Math.min(Math.floor(top / ROW) - BEYOND, size - 1));
  const last = Math.min(size, Math.ceil((top + seen) / ROW) + BEYOND);
  const template = p.columns.map((c) => c.width).join(" ");

  function active(): number {
    if (chosen === null) return -1;
    for (let k = 0; k < size; k++) if (p.name(p.order[k]!) === chosen) return k;
    return -1;
  }

  function walk(e: KeyboardEvent) {
    const page = Math.max(1, Math.floor(seen / ROW) - 1);
    const here = active();
    const moves: Record<string, number> = {
      ArrowDown: here + 1, ArrowUp: Math.max(0, here - 1), PageDown: Math.max(0, here) + page,
      PageUp: Math.max(0, here - page), Home: 0, End: size - 1,
    };
    if (e.key === "Enter" && here >= 0) {
      e.preventDefault();
      p.onOpen(p.order[here]!);
      return;
    }
    const next = moves[e.key];
    if (next === undefined || !size) return;
    e.preventDefault();
    const row = Math.min(size - 1, next);
    setChosen(p.name(p.order[row]!));
    const box = scroller.current;
    if (!box) return;
    if (row * ROW < box.scrollTop) box.scrollTop = row * ROW;
    else if ((row + 1) * ROW > box.scrollTop + seen) box.scrollTop = (row + 1) * ROW - seen;
  }

  const slots = [];
  for (let k = first; k < last; k++) {
    const row = p.order[k]!;
    const name = p.name(row);
    slots.push(
      // Keyed by slot, not by row: scrolling writes text into rows that stand there already.
      <div key={k % (Math.ceil(seen / ROW) + 2 * BEYOND + 3)} role="row" aria-rowindex={k + 2}
        aria-selected={name === chosen} class={`vrow ${p.tone?.(row) ?? ""}`}
        style={{ transform: `translateY(${k * ROW}px)`, gridTemplateColumns: template }}
        onClick={() => { setChosen(name); p.onOpen(row); }}>
        {p.columns.map((c) => (
          <span key={c.key} role="gridcell" class={`${c.text ? "text" : "num"} c-${c.key}`}
            title={c.full?.(row)}>{c.cell(row)}</span>
        ))}
      </div>,
    );
  }
  return (
    <div class="vtable" role="grid" aria-label={p.label} aria-rowcount={size + 1}
      aria-colcount={p.columns.length}>
      <div role="rowgroup" class="vhead">
        <div role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
          {p.columns.map((c) => (
            <span key={c.key} role="columnheader" class={c.text ? "text" : "num"}
              aria-sort={p.sort.key === c.key ? (p.sort.down ? "descending" : "ascending") : "none"}>
              <button onClick={() => p.onSort(c.key)}>
                {c.label}{c.unit && <small> {c.unit}</small>}
                <i aria-hidden="true">{p.sort.key === c.key ? (p.sort.down ? " ▾" : " ▴") : ""}</i>
              </button>
            </span>
          ))}
        </div>
      </div>
      <div ref={scroller} class="vbody" role="rowgroup" tabIndex={0} style={{ height: `${p.height}px` }}
        aria-label={`${p.label}: arrows walk, Enter opens`} onScroll={scrolled} onKeyDown={walk}>
        <div class="vspace" style={{ height: `${size * ROW}px` }}>{slots}</div>
      </div>
    </div>
  );
}
