// What is on the screen and how old it is: answers kept by path, a stream that says what changed.
//
// A frame of the stream is news, not the whole truth: the panels whose topic it names ask again, at
// most once per their own interval. A frame that carries a whole answer (venue) is shown at once.
import { useEffect } from "preact/hooks";
import { ask, locked, Refused, turns, type Failure } from "./api";
import { Cell, clock, useCell } from "./cell";
import { stream } from "./stream";
import type { Frame, RungMove, VenueNow } from "./types";

export interface Got<T> { data: T | undefined; at: number; failure: Failure | undefined }

export interface Wish {
  topics: string[]; // frames of these make it ask again
  least: number; // ms between two questions
  idle?: number; // ms after which it asks anyway; for what moves with time alone
  heavy?: boolean; // not while a hand scrolls: reading it would be felt
}

const POLL = 3000; // ms between questions while no stream stands
const HEARTBEAT = 4000; // ms without a frame after which the venue is asked whether it is there
const VENUE = "v1/venue"; // asked first and alone until it answers: one failure, not one a panel
const LONGEST_WAIT = 20_000;
const SETTLED = 60_000; // what this service does not have it will not have in a moment
const CALM = 900; // ms after the last scroll

class Resource {
  readonly cell = new Cell<Got<unknown>>({ data: undefined, at: 0, failure: undefined });
  users = 0;
  dirty = true;
  private asking = false;
  private asked = 0;
  private failed = 0; // in a row

  constructor(readonly path: string, readonly wish: Wish) {}

  due(now: number): boolean {
    if (this.asking || !this.users || (!ready && this.path !== VENUE)) return false;
    const since = now - this.asked;
    const wait = this.cell.value.failure?.status === 404 ? SETTLED
      : this.failed ? Math.min(LONGEST_WAIT, 500 * 2 ** this.failed) : 0;
    if (since < Math.max(wait, this.wish.least)) return false;
    if (this.wish.heavy && now - scrolled < CALM) return false;
    if (this.dirty) return true;
    if (stream.state.value !== "live" && since >= Math.max(POLL, this.wish.least)) return true;
    return this.wish.idle !== undefined && since >= this.wish.idle;
  }

  async ask(): Promise<void> {
    this.asking = true;
    this.asked = Date.now();
    this.dirty = false;
    try {
      const data = await ask<unknown>(this.path);
      this.put(data);
    } catch (error) {
      const failure = error instanceof Refused
        ? error.failure : { status: 0, title: String(error), hint: "" };
      this.failed += 1;
      this.dirty = [0, 401].includes(failure.status) || failure.status >= 429;
      this.cell.value = { ...this.cell.value, failure };
      if (this.path === VENUE) ready = false;
    } finally {
      this.asking = false;
    }
  }

  /** A new key: what the old one was refused is forgotten. */
  forget(): void {
    this.failed = 0;
    this.asked = 0;
    this.cell.value = { ...this.cell.value, failure: undefined };
  }

  put(data: unknown): void {
    this.failed = 0;
    this.cell.value = { data, at: Date.now(), failure: undefined };
    heard.value = Date.now();
    if (this.path !== VENUE || ready) return;
    ready = true;
    everything();
  }
}

let ready = false; // whether the venue answered last time
let scrolled = 0;
/** A hand is at work: heavy answers wait until it rests. */
export function touched(): void {
  scrolled = Date.now();
}

const resources = new Map<string, Resource>();
/** When the service last said anything at all. */
export const heard = new Cell(0);
/** Rungs that were climbed or left while this page was open, newest first. */
export const rungsHeard = new Cell<RungMove[]>([]);

function turn(): void {
  if (document.hidden || locked.value) return;
  const now = Date.now();
  if (ready && stream.due(now)) void stream.open();
  const venue = resources.get(VENUE);
  if (venue && now - heard.value > HEARTBEAT) venue.dirty = true;
  for (const resource of resources.values()) if (resource.due(now)) void resource.ask();
}

setInterval(turn, 100);
stream.onFrames = (frames: Frame[]) => {
  heard.value = Date.now();
  const topics = new Set(frames.map((frame) => frame.topic));
  for (const frame of frames) {
    if (frame.topic === "venue" && isVenue(frame.data)) {
      resources.get(VENUE)?.put(frame.data);
      topics.delete("venue");
    }
    if (frame.topic === "rungs") remember(frame);
  }
  for (const resource of resources.values()) {
    if (resource.wish.topics.some((topic) => topics.has(topic))) resource.dirty = true;
  }
};
stream.onOpen = everything;
document.addEventListener("visibilitychange", () => !document.hidden && everything());
turns.listen(() => {
  ready = false;
  stream.close();
  for (const resource of resources.values()) resource.forget();
  everything();
});

function everything(): void {
  for (const resource of resources.values()) resource.dirty = true;
  turn();
}

function isVenue(data: unknown): data is VenueNow {
  return typeof data === "object" && data !== null && "mode" in data && "rung_name" in data
    && "tranches" in data;
}

function remember(frame: Frame): void {
  const said = frame.data as Partial<RungMove> | null;
  if (typeof said?.rung !== "number" || rungsHeard.value.some((r) => r.seq === frame.seq)) return;
  const move = {
    seq: frame.seq, ts: frame.ts, rung: said.rung, name: said.name ?? "",
    reason: said.reason ?? "", value: said.value ?? 0,
  };
  rungsHeard.value = [move, ...rungsHeard.value].slice(0, 200);
}

const nothing = new Cell<Got<unknown>>({ data: undefined, at: 0, failure: undefined });

/** Keep the answer of ``path`` on the screen; null asks nothing. */
export function useAnswer<T>(path: string | null, wish: Wish): Got<T> {
  let resource = path === null ? undefined : resources.get(path);
  if (path !== null && !resource) {
    resource = new Resource(path, wish);
    resources.set(path, resource);
  }
  useEffect(() => {
    if (!resource) return;
    resource.users += 1;
    resource.dirty = true;
    turn();
    return () => {
      resource.users -= 1;
      if (!resource.users) resources.delete(resource.path);
    };
  }, [resource]);
  return useCell(resource ? resource.cell : nothing) as Got<T>;
}

/** Seconds since what is shown was known to be true; undefined before the first answer. */
export function useAge(path: string | null): number | undefined {
  const now = useCell(clock);
  const state = useCell(stream.state);
  const resource = path === null ? undefined : resources.get(path);
  const got = resource?.cell.value;
  if (!resource || !got?.at) return undefined;
  const current = state === "live" && !resource.dirty && !got.failure;
  return Math.max(0, (now - (current ? Math.max(got.at, heard.value) : got.at)) / 1000);
}

/** Ask again now: a person pressed the button. */
export function again(path: string): void {
  const resource = resources.get(path);
  if (resource) void resource.ask();
}
