"""Turn the history of a lending protocol's vaults into a recording.

A vault is an account: its collateral a balance of ETH, its debt owed cash, the ratio of 130 % a
maintenance rate of 30 % on the debt. Nothing about vaults is left for the engine to know. What the
files do not say is reconstructed by the protocol's invariants (see `vault_ledger`) and by two facts
about its oracle, measured on a public record of another time (docs, "Vaults against history"):

* The oracle takes its sample at the first transaction after the full hour, and every sample takes
  effect at the next one: the sample of hour h is the price from hour h + 1 on. Of 253 samples
  (2019-11 to 2020-03) nine in ten came within `SAMPLED_WITHIN` of the hour.
* So the price of an hour is one between the candle's open and the price `SAMPLED_WITHIN` later,
  which lies on the straight line from open to close, as far as a candle can tell. The doubt is
  rounded against the account, like every rounding here: ``price`` is the lower end of the two, and
  ``confidence`` the distance to the upper one.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tidegate.adapters.arrow import Table, pa
from tidegate.adapters.candles import DEPTH_SHARE, Candles, daily, read_candles
from tidegate.adapters.vaults import VaultEvents, ilk_of, read_events, read_parameters
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.instrument import Spot
from tidegate.domain.units import PPM, Amount, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Limits, Market, Venue
from tidegate.drivers.recording_streams import HOUR, accruals
from tidegate.drivers.recording_write import write_recording
from tidegate.drivers.vault_ledger import LOTS, Rules, VaultLedger


ASSET: Final = "ETH"
NUMERAIRE: Final = "DAI"
SAMPLED_WITHIN: Final = 12 * 60 * 1_000_000_000
WARM_UP: Final = 2 * HOUR  # prices before the first moment, so that a delayed one is in force
VENUES: Final = ("binance_spot", "binance_perp")  # the first that has candles, unless one is named
CENT: Final = 100  # ticks of one unit of price


class Opening(NamedTuple):
    """What every vault has at the first moment, Money and lots."""

    cash: dict[int, int]
    held: dict[int, int]


def convert(
    *,
    events: Sequence[Path],
    prices: Path,
    parameters: Path,
    out: Path,
    symbol: str = "ETHUSDT",
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, int | float | str]:
    """Write the recording of ``since``..``until`` (until excluded) into ``out``; return a summary.

    With ``since``, events before it make the opening book. ``symbol`` may name the venue of the
    candles as well, as in "binance_perp/ETHUSDT". The same files give the same bytes. Raise
    RecordingInvalid naming file, row and column for what does not fit.
    """
    read = read_events(events)
    start, stop = _span(read, since, until)
    rules = Rules.of(read_parameters(parameters))
    _prove_rules(rules, parameters, read)
    candles = _candles(prices, symbol, start - WARM_UP, stop)
    ledger, opening = _play(read, rules, start, stop)
    notes = tuple(_notes(ledger, candles, start))
    venue = _venue(ilk_of(parameters) or "vault", candles, len(ledger.cash), notes)
    tables = {
        "prices": _price_table(candles),
        "accounts": _account_table(opening),
        "loans": _loan_table(opening, venue.name),
        "flows": _flow_table(ledger),
        "liquidations": _liquidation_table(ledger),
        "parameters": _parameter_table(rules, start, stop),
    }
    write_recording(out, venue, {n: t for n, t in tables.items() if t.num_rows or n == "prices"})
    return {
        "vaults": len(ledger.cash),
        "flows": len(ledger.flows),
        "liquidations": len(ledger.liquidations),
        "hours": int(candles.ts.size),
        "candles": f"{candles.venue}/{candles.symbol}",
        **dict(sorted(ledger.found.items())),
        f"{NUMERAIRE} of corrections": ledger.corrected / PPM,
    }


def _span(read: VaultEvents, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return the first moment and the one after the last; a moment without a zone is UTC."""
    start, stop = int(read.ts[0]) // HOUR * HOUR, int(read.ts[-1]) // HOUR * HOUR + WARM_UP
    start, stop = (
        default
        if moment is None
        else int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9
        for moment, default in ((since, start), (until, stop))
    )
    if start >= stop:
        raise RecordingInvalid(
            where="--from and --until",
            what="must be in this order, and the events must begin before the end",
            found=f"ts {start} and {stop}",
        )
    return start, stop


def _prove_rules(rules: Rules, file: Path, read: VaultEvents) -> None:
    for name, dated in (("SPOTTER.ilks.mat", rules.ratio), ("JUG.ilks.duty", rules.duty)):
        if not dated or dated[0].ts > int(read.ts[0]):
            raise RecordingInvalid(
                where=file.name,
                what=f"must have a value of {name} that is in force at the first event",
                found="none" if not dated else f"the first from ts {dated[0].ts} on",
                hint="parameters must reach back to the beginning of the events",
            )


def _candles(file: Path, symbol: str, start: int, stop: int) -> Candles:
    """Return hourly candles within ``start``..``stop``, of the first venue that has any."""
    venue, _, name = symbol.rpartition("/")
    tried = (venue,) if venue else (*VENUES, None)
    for n, one in enumerate(tried):
        try:
            found = read_candles([file], [name], one, since=start, until=stop)[0]
        except RecordingInvalid:
            if n + 1 == len(tried):
                raise
            continue
        if found.interval != HOUR or found.ts.size < 2:
            raise RecordingInvalid(
                where=file.name,
                what="must hold hourly candles of the time that is asked for",
                found=f"{found.ts.size} candles, {found.interval / 1e9:g} s apart",
            )
        return found
    raise AssertionError


def _play(read: VaultEvents, rules: Rules, start: int, stop: int) -> tuple[VaultLedger, Opening]:
    """Play the events; return the ledger of ``start``..``stop`` and what it opened with."""
    ledger = VaultLedger(rules)
    rates = rules.hourly()
    cut, end = (int(np.searchsorted(read.ts, at)) for at in (start, stop))
    _turn(ledger, _part(read, 0, cut), list(accruals([r for r in rates if r[0] < start], start)))
    opening = Opening(dict(ledger.cash), dict(ledger.held))
    ledger.flows.clear()
    ledger.liquidations.clear()
    ledger.found.clear()
    ledger.corrected = 0
    later = [r for r in _from(rates, start) if r[0] < stop]
    _turn(ledger, _part(read, cut, end), list(accruals(later, stop)))
    return ledger, opening


def _part(read: VaultEvents, start: int, end: int) -> VaultEvents:
    ts, block, vault, kind, amount = read
    part = slice(start, end)
    return VaultEvents(ts[part], block[part], vault[part], kind[part], amount[part])


def _from(rates: Sequence[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    """Return the rate in force at ``start``, dated there, and all later ones."""
    before = [rate for ts, rate in rates if ts <= start]
    return [(start, before[-1])] * bool(before) + [(ts, r) for ts, r in rates if ts > start]


def _turn(ledger: VaultLedger, part: VaultEvents, due: Sequence[tuple[int, int]]) -> None:
    """Book blocks and interest in time order; interest first where both are due."""
    new = np.r_[True, (np.diff(part.block) != 0) | (np.diff(part.vault) != 0)]
    first: list[int] = np.flatnonzero(new[: part.ts.size]).tolist()
    ends = [*first, part.ts.size][1:]
    kind: list[int] = part.kind.tolist()
    amount: list[float] = part.amount.tolist()
    next_due = 0
    for at, end in zip(first, ends, strict=True):
        ts = int(part.ts[at])
        while next_due < len(due) and due[next_due][0] <= ts:
            ledger.accrue(due[next_due][1])
            next_due += 1
        rows = zip(kind[at:end], amount[at:end], strict=True)
        ledger.block(ts, int(part.vault[at]), list(rows))
    for _, rate in due[next_due:]:
        ledger.accrue(rate)


def _venue(ilk: str, candles: Candles, vaults: int, notes: tuple[str, ...]) -> Venue:
    volume, volatility = daily(candles)
    return Venue(
        name=ilk,
        numeraire=NUMERAIRE,
        instruments=(
            Spot(
                symbol=ASSET,
                tick_size="0.01",
                lot_size="0.00000001",
                units=Amount(LOTS),
                tick_value=Money(PPM // CENT),
                price_max=Ticks(10_000_000),  # 100,000 DAI
                lots_max=Lots(4_000_000 * LOTS),
                open_interest_max=Lots(40_000_000 * LOTS),
            ),
        ),
        limits=Limits(
            accounts_max=vaults + FIRST_USER + 64,
            positions_max=vaults + FIRST_USER + 64,
            orders_max=vaults + 64,
        ),
        sources=(candles.venue,),
        markets=(
            Market(
                symbol=ASSET,
                depth=Money(max(1, round(volume * DEPTH_SHARE * PPM))),
                daily_volume=Money(max(1, round(volume * PPM))),
                daily_volatility=Ppm(max(1, round(volatility * PPM))),
            ),
        ),
        # Only a price or the fee can make a vault liquidatable, and both come hourly: an owner's
        # own step below the line is refused by the protocol. So nobody is judged in between.
        step_ns=Nanos(100 * 365 * 24 * HOUR),
        account_label="vault",
        notes=notes,
    )


def _notes(ledger: VaultLedger, candles: Candles, start: int) -> Iterator[str]:
    found, missing = ledger.found, int(np.sum(np.diff(candles.ts) // HOUR - 1))
    yield (
        f"prices: the oracle's sample of an hour lies between the open of {candles.venue}'s candle "
        f"and the price {SAMPLED_WITHIN // 60_000_000_000} minutes later (on the line from open to "
        "close); the lower end is the price, the distance to the upper one its confidence"
    )
    yield (
        f"debts: {found['corrections']} times, {ledger.corrected / PPM:,.2f} {NUMERAIRE} in all, "
        "a debt was left over by the fee's rounding or by a missing record, and cleared where the "
        "protocol could not have left it"
    )
    yield (
        f"collateral: seized ETH follows from the debt's share ({found['partial liquidations']} "
        f"partial, {found['whole liquidations']} whole liquidations); the source rounds it to "
        "whole ETH"
    )
    if found["liquidations that do not close"] or found["debts left without collateral"]:
        yield (
            f"records: {found['liquidations that do not close']} liquidations and "
            f"{found['debts left without collateral']} last withdrawals find a debt that an "
            "unrecorded repayment must have paid; it is dated at that moment"
        )
    if missing:
        yield f"prices: {missing} hourly candles are missing; the last price stays in force"
    if int(candles.ts[0]) > start - WARM_UP + HOUR:
        yield "prices: there are none before the first moment, so the first one is not delayed"


def _price_table(candles: Candles) -> Table:
    share = SAMPLED_WITHIN / HOUR
    later = candles.open + share * (candles.close - candles.open)
    low = np.floor(np.minimum(candles.open, later) * CENT + 1e-6) / CENT
    high = np.ceil(np.maximum(candles.open, later) * CENT - 1e-6) / CENT
    n = candles.ts.size
    return pa.table(
        {
            "ts": candles.ts,
            "instrument": pa.array([ASSET] * n, pa.string()),
            "source": pa.array([candles.venue] * n, pa.string()),
            "price": low,
            "confidence": (high - low).round(2),
        }
    )


def _account_table(opening: Opening) -> Table:
    """Return every vault that is known at the opening, with what it is owed."""
    vaults = sorted(opening.cash)
    return pa.table(
        {
            "account": pa.array([str(v) for v in vaults], pa.string()),
            "asset": pa.array([NUMERAIRE] * len(vaults), pa.string()),
            "balance": pa.array([max(0, opening.cash[v]) / PPM for v in vaults], pa.float64()),
        }
    )


def _loan_table(opening: Opening, market: str) -> Table:
    held = {v: opening.held.get(v, 0) for v in sorted(opening.cash)}
    vaults = [v for v, lots in held.items() if lots or opening.cash[v] < 0]
    owed = [max(0, -opening.cash[v]) / PPM for v in vaults]
    return pa.table(
        {
            "account": pa.array([str(v) for v in vaults], pa.string()),
            "market": pa.array([market] * len(vaults), pa.string()),
            "collateral_asset": pa.array([ASSET] * len(vaults), pa.string()),
            "collateral": pa.array([held[v] / LOTS for v in vaults], pa.float64()),
            "debt_asset": pa.array([NUMERAIRE] * len(vaults), pa.string()),
            "debt": pa.array(owed, pa.float64()),
        }
    )


def _flow_table(ledger: VaultLedger) -> Table:
    flows = ledger.flows
    unit = {ASSET: LOTS, NUMERAIRE: PPM}
    return pa.table(
        {
            "ts": pa.array([f.ts for f in flows], pa.int64()),
            "seq": pa.array([f.seq for f in flows], pa.int64()),
            "account": pa.array([str(f.vault) for f in flows], pa.string()),
            "kind": pa.array([f.kind for f in flows], pa.string()),
            "asset": pa.array([f.asset for f in flows], pa.string()),
            "quantity": pa.array([f.amount / unit[f.asset] for f in flows], pa.float64()),
        }
    )


def _liquidation_table(ledger: VaultLedger) -> Table:
    rows = ledger.liquidations
    return pa.table(
        {
            "ts": pa.array([r.ts for r in rows], pa.int64()),
            "seq": pa.array([r.seq for r in rows], pa.int64()),
            "account": pa.array([str(r.vault) for r in rows], pa.string()),
            "instrument": pa.array([ASSET] * len(rows), pa.string()),
            "quantity": pa.array([r.seized / LOTS for r in rows], pa.float64()),
            "price": pa.array([None] * len(rows), pa.float64()),
            "kind": pa.array(["auction"] * len(rows), pa.string()),
            "cash": pa.array([r.debt / PPM for r in rows], pa.float64()),
        }
    )


def _parameter_table(rules: Rules, start: int, stop: int) -> Table:
    """Return the fee from the first moment on, and what changes later.

    A ratio or penalty that never changes is the stack's to say, so that another one can be tried.
    """
    rows = [(ts, "interest.CASH", rate) for ts, rate in _from(rules.hourly(), start)]
    rows += [(d.ts, f"dust.{ASSET}", round(d.value * PPM)) for d in rules.dust]
    rows += [(d.ts, "cash_debt.maintenance", round((d.value - 1.0) * PPM)) for d in rules.ratio]
    kept = sorted(row for row in rows if start <= row[0] < stop)
    return pa.table(
        {
            "ts": pa.array([ts for ts, _, _ in kept], pa.int64()),
            "seq": pa.array(range(len(kept)), pa.int64()),
            "name": pa.array([name for _, name, _ in kept], pa.string()),
            "value": pa.array([value for _, _, value in kept], pa.int64()),
        }
    )
