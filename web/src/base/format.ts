// Numbers and times as people read them; what is shortened keeps its whole value in a title.

const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });
const STEPS: [number, string][] = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];

/** 1234567.8 -> "1,234,567.8"; a decimal string keeps every digit it came with. */
export function whole(value: number | string | null | undefined): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "number") return Number.isFinite(value) ? minus(plain.format(value)) : "–";
  const [head = "", tail] = value.split(".");
  const grouped = head.replace(/\B(?=(\d{3})+$)/g, ",");
  return minus(tail === undefined ? grouped : `${grouped}.${tail}`);
}

/** 1234567.8 -> "1.23 M": three digits that count. */
export function short(value: number | string | null | undefined): string {
  if (value === null || value === undefined || value === "") return "–";
  const n = Number(value);
  if (!Number.isFinite(n)) return "–";
  const size = Math.abs(n);
  for (const [step, letter] of STEPS) {
    if (size >= step * 0.9995) return `${minus(three(n / step))} ${letter}`;
  }
  return minus(size >= 100 || Number.isInteger(n) ? String(Math.round(n)) : three(n));
}

function three(n: number): string {
  const size = Math.abs(n);
  if (size === 0) return "0";
  if (size >= 100) return n.toFixed(0);
  if (size >= 10) return n.toFixed(1);
  if (size >= 0.01) return n.toFixed(2);
  return n.toPrecision(2);
}

export function fixed(value: number | null | undefined, digits: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return minus(value.toLocaleString("en-US", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  }));
}

/** 0.0123 -> "1.23 %". */
export function percent(share: number | null | undefined, digits = 2): string {
  return share === null || share === undefined || !Number.isFinite(share)
    ? "–" : `${fixed(share * 100, digits)} %`;
}

/** A price as plainly as its size allows: five digits that count, and no fewer than it has. */
export function price(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size === 0) return "–";
  return fixed(value, Math.max(0, Math.min(8, 5 - Math.ceil(Math.log10(size)))));
}

function minus(text: string): string {
  return text.replace("-", "−"); // as wide as a digit
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** Nanoseconds -> "21:14:05" UTC. */
export function time(ns: number | null | undefined): string {
  if (!ns || ns < 0) return "–";
  const d = new Date(ns / 1e6);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
}

/** Nanoseconds -> "2025-10-10 21:14:05". */
export function moment(ns: number | null | undefined): string {
  if (!ns || ns < 0) return "–";
  const d = new Date(ns / 1e6);
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${time(ns)}`;
}

/** Seconds -> "4 s", "3 min", "2 h 5 min". */
export function span(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 119.5) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min ${two(Math.floor(s % 60))} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d`;
}

/** What a rung's reason measured, in the unit of that alarm. */
export function alarm(reason: string, value: number): string {
  switch (reason) {
    case "doubtful": return `${value} doubtful price${value === 1 ? "" : "s"}`;
    case "deviations": return `${fixed(value / 1e6, 1)} σ`;
    case "branching": return `n ${fixed(value / 1e6, 2)}`;
    case "distressed": case "drawdown": case "drop": return percent(value / 1e6, 1);
    default: return "";
  }
}

/** "reduce_only" -> "reduce only". */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}
