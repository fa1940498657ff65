// The shapes of the service's answers (src/tidegate/api/answers.py), and of the replays it keeps.
// Decimals arrive as strings and are shown as they came; times are nanoseconds UTC.

export interface Tranche { name: string; balance: string; initial: string }

export interface VenueNow {
  name: string; numeraire: string; account_label: string; stack: string; stack_digest: string;
  version: string; seq: number; ts: number; mode: string; leader: boolean; epoch: number;
  rung: number; rungs: number; rung_name: string; rung_reason: string; rung_value: number;
  rung_since: number; branching: number; accounts: number; positions: number;
  liquidatable: number; bankrupt: number; required: string; distressed: string; deficit: string;
  fund: string; fund_peak: string; lost: string; tranches: Tranche[]; in_flight: number;
}

export interface InstrumentNow {
  symbol: string; kind: string; tick_size: string; lot_size: string; mark: string; low: string;
  high: string; index: string; quality: string; marked_at: number; branching: number;
  deviations: number; volatility: number; long_open: string; short_open: string;
  bids: [string, string][]; asks: [string, string][]; spent_sells: string; spent_buys: string;
  budget: string | null; band_low: string; band_high: string; phase: string; paused: string[];
}

export interface Profile {
  symbol: string; seq: number; ts: number; mark: string; width: number; near: number;
  down: number[]; up: number[];
}

export interface ProfileHistory {
  symbol: string; width: number; ts: number[]; mark: number[]; near: number[];
  down: number[][]; up: number[][];
}

export interface LiquidationMap {
  symbol: string; seq: number; ts: number; mark: number; width: number; forced_down: number[];
  forced_up: number[]; bid_depth: number[]; ask_depth: number[];
}

export interface OrderNow {
  order: number; account: string; instrument: string; quantity: string; limit: string;
  route: string; placed_at: number;
}

export interface PositionNow {
  instrument: string; quantity: string; entry: string; mark: string; value: string; pnl: string;
  in_flight: string; liquidation_price: string | null;
}

export interface AccountNow {
  name: string; owner: string; seq: number; ts: number; cash: string; equity: string;
  maintenance: string; initial: string; margin_ratio: number | null; liquidatable: boolean;
  bankrupt: boolean; distance: number | null; positions: PositionNow[]; orders: OrderNow[];
}

export interface AccountColumns {
  seq: number; ts: number; total: number; offset: number; account: string[]; equity: number[];
  maintenance: number[]; notional: number[]; distance: number[];
}

export interface AuctionNow {
  auction: number; kind: string; instrument: string; quantity: string; asking: string | null;
  mark: string; opened_at: number; closes_at: number | null; reveal_at: number | null;
  bids: number;
}

export interface Winner { account: string; quantity: string; forgone: string; rank: number }

export interface Receipt {
  seq: number; ts: number; instrument: string; bankrupt: string[]; price: string; mark: string;
  deficit: string; fund: string; fund_paid: string; forgone: string; candidates: number;
  rule: string; winners: Winner[];
}

export interface Flow {
  symbol: string; ts: number[]; ordered: number[]; filled: number[]; waiting: number[];
  spent: number[]; budget: (number | null)[];
}

export interface FundHistory { tranches: Tranche[]; ts: number[]; balance: number[][]; lost: number[] }

export interface Logged {
  seq: number; ts: number; kind: string; what: string; accounts: string[];
  effects: Record<string, number>; refused: string[];
}

export interface Explained { account: string; seq: number; lines: string[] }

export interface Alert { code: string; detail: string; since: number; severity: string }

export interface RungMove {
  seq: number; ts: number; rung: number; name: string; reason: string; value: number;
}

export interface Frame { topic: string; seq: number; ts: number; data: unknown; more?: boolean }

export interface Shelf {
  recordings: { name: string; title?: string; events?: number; begin?: number; end?: number }[];
  stacks: string[];
}

export interface VerdictRow {
  key: string; label: string; unit: string; better: "less" | "more" | "";
  values: Record<string, number | null>;
}

export interface ReplayNow {
  id: string; recording: string; stacks: string[]; state: "running" | "done" | "failed";
  progress: number; frames: number; begin: number; end: number; numeraire?: string;
  detail?: string; verdict?: VerdictRow[];
}

export interface ReplayFrames {
  ts: number[]; marks: Record<string, (number | null)[]>; rung: number[]; branching: number[];
  liquidatable: number[]; bankrupt: number[]; fund: number[]; forced: number[];
  in_flight: number[]; bad_debt: number[]; deleveraged: number[];
}
