// The rows of one replayed stack, fetched in pages until the replay is done.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../base/api";
import type { ReplayFrames, ReplayNow } from "../base/types";

const PAGE = 5000;
const COLUMNS = ["ts", "rung", "branching", "liquidatable", "bankrupt", "fund", "forced", "in_flight",
  "bad_debt", "deleveraged"] as const;

function joined(a: ReplayFrames | undefined, b: ReplayFrames): ReplayFrames {
  if (!a) return b;
  const all = { marks: {} } as ReplayFrames;
  for (const name of COLUMNS) all[name] = a[name].concat(b[name]);
  for (const symbol of Object.keys(b.marks)) {
    all.marks[symbol] = (a.marks[symbol] ?? []).concat(b.marks[symbol] ?? []);
  }
  return all;
}

/** Frames by stack; asked for page by page, `after` being the number of rows already here. */
export function useFrames(replay: ReplayNow | undefined): Record<string, ReplayFrames> {
  const [frames, setFrames] = useState<Record<string, ReplayFrames>>({});
  const held = useRef<Record<string, ReplayFrames>>({});
  const id = replay?.id ?? "";
  useEffect(() => {
    held.current = {};
    setFrames({});
    if (!replay) return;
    let gone = false;
    const stop = new AbortController();
    async function follow(stack: string) {
      for (;;) {
        const after = held.current[stack]?.ts.length ?? 0;
        const query = `stack=${encodeURIComponent(stack)}&after=${after}&limit=${PAGE}`;
        let got: ReplayFrames | undefined;
        try {
          got = await ask<ReplayFrames>(`v1/replays/${encodeURIComponent(id)}/frames?${query}`, undefined, stop.signal);
        } catch {
          if (gone) return;
        }
        if (gone) return;
        if (got?.ts.length) {
          held.current = { ...held.current, [stack]: joined(held.current[stack], got) };
          setFrames(held.current);
        }
        if (got && got.ts.length === PAGE) continue;
        if (ended.current && got && !got.ts.length) return;
        await new Promise((wake) => setTimeout(wake, ended.current ? 50 : 800));
      }
    }
    for (const stack of new Set(replay.stacks)) void follow(stack);
    return () => {
      gone = true;
      stop.abort();
    };
  }, [id]);
  const ended = useRef(false);
  ended.current = replay !== undefined && replay.state !== "running";
  return frames;
}

/** The last row at or before ``ts``; -1 before the first. */
export function rowAt(ts: number[], at: number): number {
  let [low, high] = [0, ts.length - 1];
  if (!ts.length || ts[0]! > at) return -1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (ts[mid]! <= at) low = mid;
    else high = mid - 1;
  }
  return low;
}
