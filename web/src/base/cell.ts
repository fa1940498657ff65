// A value that says when it changes, and the hook that listens.
import { useEffect, useState } from "preact/hooks";

export class Cell<T> {
  private readonly ears = new Set<() => void>();

  constructor(private held: T) {}

  get value(): T {
    return this.held;
  }

  set value(next: T) {
    if (Object.is(next, this.held)) return;
    this.held = next;
    for (const ear of [...this.ears]) ear();
  }

  listen(ear: () => void): () => void {
    this.ears.add(ear);
    return () => this.ears.delete(ear);
  }
}

export function useCell<T>(cell: Cell<T>): T {
  const [, turn] = useState(0);
  useEffect(() => {
    turn((n) => n + 1); // it may have changed between rendering and listening
    return cell.listen(() => turn((n) => n + 1));
  }, [cell]);
  return cell.value;
}

/** Wall-clock milliseconds, moved once a second: ages are read from it. */
export const clock = new Cell(Date.now());
setInterval(() => (clock.value = Date.now()), 1000);
