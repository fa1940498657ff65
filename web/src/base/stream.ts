// The WebSocket: a ticket, the topics, and after a break the frames since the last one that came.
import { address, ask, key, locked, Refused } from "./api";
import { Cell } from "./cell";
import type { Frame } from "./types";

export type State = "connecting" | "live" | "broken";

const TOPICS = "venue,marks,rungs,health,profile,flow,orders,auctions,fund,deleveragings,alerts,events";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

class Stream {
  readonly state = new Cell<State>("connecting");
  readonly seq = new Cell(-1);
  onFrames: (frames: Frame[]) => void = () => undefined;
  onOpen: () => void = () => undefined;
  private socket: WebSocket | undefined;
  private wait = FIRST_WAIT;
  private timer = 0;
  private held: Frame[] = [];

  async open(): Promise<void> {
    clearTimeout(this.timer);
    this.close();
    if (locked.value) return;
    const url = address(`v1/stream?topics=${TOPICS}`);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.seq.value >= 0) url.searchParams.set("after", String(this.seq.value));
    try {
      const { ticket } = await ask<{ ticket: string }>("v1/tickets", {});
      url.searchParams.set("ticket", ticket);
    } catch (error) {
      // A service without keys hands out no tickets; then the socket opens without one.
      if (!(error instanceof Refused && error.failure.status === 404)) return this.later();
    }
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.wait = FIRST_WAIT;
      this.state.value = "live";
      this.onOpen();
    };
    socket.onmessage = (message) => this.take(String(message.data));
    socket.onclose = () => {
      if (this.socket === socket) this.later();
    };
  }

  private take(text: string): void {
    let said: Frame | Frame[];
    try {
      said = JSON.parse(text);
    } catch {
      return; // not for us
    }
    const frames = (Array.isArray(said) ? said : [said]).filter((f) => typeof f?.topic === "string");
    if (!frames.length) return;
    // A burst of frames is taken in one go, ten times a second: the screen can show no more.
    if (!this.held.length) setTimeout(() => this.flush(), 100);
    this.held.push(...frames);
  }

  private flush(): void {
    const frames = this.held;
    this.held = [];
    for (const { seq } of frames) if (seq > this.seq.value) this.seq.value = seq;
    this.onFrames(frames);
  }

  private later(): void {
    this.socket = undefined;
    this.state.value = "broken";
    if (locked.value) return;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.open(), this.wait * (0.7 + 0.6 * Math.random()));
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
  }

  private close(): void {
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
  }
}

export const stream = new Stream();
key.listen(() => void stream.open());
