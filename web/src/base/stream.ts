// The WebSocket: a ticket, the topics, and after a break the frames since the last one that came.
import { address, ask, Refused } from "./api";
import { Cell } from "./cell";
import type { Frame } from "./types";

export type State = "connecting" | "live" | "broken";

// Not marks, profile and events: they come with every price, and the panels ask for what they show.
const TOPICS = "venue,rungs,health,flow,orders,auctions,fund,deleveragings,alerts";
const LOST = new Set([4009, 4010]); // our place is unknown or too far back: go on from now
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

class Stream {
  readonly state = new Cell<State>("connecting");
  readonly seq = new Cell(-1);
  onFrames: (frames: Frame[]) => void = () => undefined;
  onOpen: () => void = () => undefined;
  private socket: WebSocket | undefined;
  private opening = false;
  private wait = FIRST_WAIT;
  private next = 0; // when to try again
  private held: Frame[] = [];

  due(now: number): boolean {
    return !this.opening && !this.socket && now >= this.next;
  }

  async open(): Promise<void> {
    this.opening = true;
    try {
      await this.dial();
    } finally {
      this.opening = false;
    }
  }

  private async dial(): Promise<void> {
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
    socket.onclose = ({ code }) => {
      if (this.socket !== socket) return;
      if (LOST.has(code)) this.seq.value = -1;
      this.later();
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
    // While more frames of a record are to come, that record is no place to go on from.
    for (const { seq, more } of frames) if (!more && seq > this.seq.value) this.seq.value = seq;
    this.onFrames(frames);
  }

  private later(): void {
    this.socket = undefined;
    this.state.value = "broken";
    this.next = Date.now() + this.wait * (0.7 + 0.6 * Math.random());
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
  }

  close(): void {
    const socket = this.socket;
    this.socket = undefined;
    this.state.value = "connecting";
    this.next = 0;
    socket?.close();
  }
}

export const stream = new Stream();
