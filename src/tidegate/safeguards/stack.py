"""The safeguard stack: every defence of one venue, declared in one file and bound to one venue."""

import hashlib
import re
from dataclasses import dataclass
from difflib import get_close_matches
from math import isqrt
from pathlib import Path
from typing import Self, TypeVar, cast, get_args

import msgspec
import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import MUTABLE, Facts
from tidegate.domain.restraint import ACTIONS, pause_row
from tidegate.domain.units import I64, MONEY_MAX, PPM
from tidegate.domain.venue import Venue
from tidegate.safeguards.auctions import AnySale, BatchRoute, Sale
from tidegate.safeguards.backstop import Backstop
from tidegate.safeguards.breaker import LadderBreaker
from tidegate.safeguards.cadence import Cadence
from tidegate.safeguards.caps import Caps
from tidegate.safeguards.governance import Governance
from tidegate.safeguards.margin import MarginModel
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.penalty import AnyPenalty, FixedPenalty
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.price_bands import PriceBands
from tidegate.safeguards.rate import OptimalRate
from tidegate.safeguards.routes import AnyRoute, BookRoute
from tidegate.safeguards.signals import SignalGate
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.soft import SoftBands
from tidegate.safeguards.split import SplitRoute
from tidegate.safeguards.throttle import AnyThrottle, FundThrottle, NoThrottle
from tidegate.safeguards.wait import WaitMargin
from tidegate.safeguards.waterfall import Waterfall
from tidegate.safeguards.withdrawals import WithdrawalGate


T = TypeVar("T")

ORDERS_MAX, AUCTIONED_MAX = 2**20, 2**18  # numbers of a step, see `engine.state.SHIFT`


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The grid of the cascade profile: buckets of ``width`` ppm on either side of the mark."""

    buckets: int = 40
    width: int = 5_000
    near: int = 4  # buckets that make the near branching ratio

    def __post_init__(self) -> None:
        """Refuse a grid without cells."""
        sizes = 1 <= self.near <= self.buckets <= 400 and 100 <= self.width <= 100_000
        if not sizes or self.buckets * self.width > PPM:
            raise ConfigInvalid(
                where="profile",
                what="1 <= near <= buckets <= 400, width within 100..100_000 and together <= 100 %",
                found=f"{self.near}, {self.buckets}, {self.width:_}",
            )


class SafeguardStack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands between a falling price and a cascade, in the order it is met."""

    name: str
    about: str = ""
    oracle: OracleGuard = OracleGuard()
    margin: MarginModel = MarginModel()
    breaker: LadderBreaker = LadderBreaker()
    bands: PriceBands = PriceBands()
    profile: Profile = Profile()
    planner: StagedPlanner = StagedPlanner()
    throttle: AnyThrottle = NoThrottle()
    rate: OptimalRate = OptimalRate()
    slices: Slicing = Slicing()
    wait: WaitMargin = WaitMargin()
    route: AnyRoute | AnySale | SplitRoute = BookRoute()
    backstop: Backstop = Backstop()
    waterfall: Waterfall = Waterfall()
    withdrawals: WithdrawalGate = WithdrawalGate()
    signals: SignalGate = SignalGate()
    penalty: AnyPenalty = FixedPenalty()
    never_worse: NeverWorse = NeverWorse()
    caps: Caps = Caps()
    governance: Governance = Governance()
    soft: SoftBands = SoftBands()
    cadence: Cadence = Cadence()

    def __post_init__(self) -> None:
        """Refuse numbers out of the range in which all is counted, and tables that need others."""
        refuse_beyond("", self)
        self.never_worse.fit(self.waterfall.deleverage)
        _refuse_without_need(self)

    @property
    def digest(self) -> str:
        """Identity of the declaration: same digest, same behaviour."""
        encoder = msgspec.msgpack.Encoder(order="deterministic")
        return hashlib.blake2b(encoder.encode(self), digest_size=8).hexdigest()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a stack from TOML; raise ConfigInvalid, naming file and key."""
        return decode_toml(path, cls)

    def describe(self) -> list[str]:
        """Return the whole stack in plain language, in the order in which an event meets it."""
        return [
            *self.oracle.describe(),
            *self.margin.describe(),
            *self.breaker.describe(),
            *self.bands.describe(),
            *self.planner.describe(),
            *(self.throttle.describe() if self.throttle.active else ()),
            *(self.rate.describe() if self.rate.active else ()),
            *(self.slices.describe() if self.slices.active else ()),
            *(self.wait.describe() if self.wait.active else ()),
            *self.route.describe(),
            *self.backstop.describe(),
            *self.waterfall.describe(),
            *self.withdrawals.describe(),
            *self.signals.describe(),
            *self.penalty.describe(),
            *self.never_worse.describe(),
            *self.caps.describe(),
            *self.governance.describe(),
            *self.soft.describe(),
            *(self.cadence.describe() if self.cadence.active else ()),
        ]


def _refuse_without_need(declaration: SafeguardStack) -> None:
    """Refuse tables that need another one, whatever the venue is."""
    throttle = declaration.throttle
    if isinstance(throttle, FundThrottle) and not declaration.waterfall.tranches:
        raise ConfigInvalid(
            where="throttle.kind",
            what='"fund" needs a fund to follow',
            found="no waterfall.tranches",
            hint="declare a tranche, or take another kind of throttle",
        )
    if declaration.wait.active and not getattr(throttle, "lots", {}):
        raise ConfigInvalid(
            where="wait",
            what="needs throttle.lots: only a wait in fixed lots can be priced beforehand",
            found=f"a throttle of kind {throttle.__struct_config__.tag!r} without lots",
            hint="an amount of Money is another number of lots at each price",
        )
    if declaration.cadence.active and declaration.soft.bands:
        raise ConfigInvalid(
            where="cadence",
            what="cannot wait where loans lie in bands, which believe a price when it is judged",
            found=f"soft.bands = {declaration.soft.bands}",
            hint="leave out the one or the other",
        )


def refuse_beyond(where: str, value: object) -> None:
    """Refuse any number, at any depth, whose size exceeds MONEY_MAX: it could not be a column."""
    parts: dict[object, object] = {}
    if isinstance(value, int) and abs(value) > MONEY_MAX:
        raise ConfigInvalid(where=where, what=f"must be <= {MONEY_MAX:_}", found=f"{value:_}")
    if isinstance(value, msgspec.Struct):
        parts |= msgspec.structs.asdict(value)
    elif isinstance(value, tuple):
        parts |= dict(enumerate(cast("tuple[object, ...]", value)))
    elif isinstance(value, dict):
        parts |= cast("dict[object, object]", value)
    for name, part in parts.items():
        refuse_beyond(f"{where}.{name}".removeprefix("."), part)


def decode_toml(path: Path, kind: type[T]) -> T:
    """Read one TOML file into ``kind``; a refusal is a ConfigInvalid that names file and key."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except FileNotFoundError as e:
        raise ConfigInvalid(
            where=str(path), what="must be a TOML file", found="no such file"
        ) from e
    except ConfigInvalid as e:
        raise ConfigInvalid(
            where=f"{path.name}: {e.where}", what=e.what, found=e.found, hint=e.hint
        ) from e
    except msgspec.ValidationError as e:
        if isinstance(e.__cause__, ConfigInvalid):
            c = e.__cause__
            raise ConfigInvalid(
                where=f"{path.name}: {c.where}", what=c.what, found=c.found, hint=c.hint
            ) from e
        what, _, where = str(e).partition(" - at ")
        where = where.strip("`$.") or "top level"
        said, found, hint = _explained(what, where, kind)
        raise ConfigInvalid(where=f"{path.name}: {where}", what=said, found=found, hint=hint) from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigInvalid(where=path.name, what="must be valid TOML", found=str(e)) from e


def _explained(what: str, where: str, kind: type) -> tuple[str, str, str | None]:
    """Return what a decoder's complaint expects, what it found, and a hint for a near miss."""
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", what)
    if unknown:
        key = unknown[1]
        near = get_close_matches(key, sorted(_keys(SafeguardStack, set())), n=1)
        hint = f"did you mean {near[0]}?" if near else None
        if near == [key]:
            hint = "it is a key of another table, or of another kind of this one"
        return "has no key of that name", repr(key), hint
    expected = re.fullmatch(r"Expected `(.+)`, got `(.+)`", what)
    if expected:
        return f"must be {expected[1]}", expected[2], _unit(where, *expected.groups())
    invalid = re.fullmatch(r"Invalid value (.+)", what)
    kinds = _kinds(where, kind) if invalid else []
    if invalid and kinds:
        return f"must be one of {kinds}", invalid[1], None
    return what, "as written", None


def _unit(where: str, expected: str, got: str) -> str | None:
    """Return in which unit a whole number is written, for who wrote a fraction or a text."""
    if expected != "int" or got not in {"float", "str"}:
        return None
    if where.endswith("_ns"):
        return "it is a number of nanoseconds: 1_000_000_000 is a second"
    return "rates and shares are whole ppm (500_000 is half), Money whole millionths"


def _kinds(where: str, kind: type) -> list[str]:
    """Return the kinds that the table around the key ``where`` may be of."""
    kinds: list[type[msgspec.Struct]] = _structs(kind)
    for part in re.sub(r"\[.*?\]", "", where).split(".")[:-1]:
        fields = [f for each in kinds for f in msgspec.structs.fields(each) if f.name == part]
        kinds = [found for f in fields for found in _structs(f.type)]
    return sorted({tag for k in kinds if isinstance(tag := k.__struct_config__.tag, str)})


def _structs(kind: object) -> list[type[msgspec.Struct]]:
    """Return every kind of table that an annotation allows."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for part in get_args(kind) for found in _structs(part)]


def _keys(kind: type[msgspec.Struct], seen: set[type[msgspec.Struct]]) -> set[str]:
    """Return every key that a stack file may use, at any depth."""
    seen.add(kind)
    keys = {f.name for f in msgspec.structs.fields(kind)}
    for field in msgspec.structs.fields(kind):
        for part in (field.type, *get_args(field.type)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in seen:
                keys |= _keys(part, seen)
    return keys


@dataclass(frozen=True, slots=True)
class Stack:
    """A declaration bound to a venue: what `decide` is given. Nothing in it ever changes.

    ``source_of`` maps each of the venue's sources to the guard's own list (-1: not listened to).
    """

    declaration: SafeguardStack
    venue: Venue
    facts: Facts
    source_of: tuple[int, ...]
    cash_max: int  # Money, the largest |cash| of one account with which no sum can wrap
    held_max: tuple[I64, I64]  # [instruments + 1] lots, cost of one account; cash comes last

    @classmethod
    def bind(cls, declaration: SafeguardStack, venue: Venue) -> Self:
        """Resolve a declaration against a venue; raise ConfigInvalid where they do not fit.

        Amounts that concern the whole venue (fund, budgets, open interest) are declared for the
        real one and take the recording's scale; those of single accounts stay as they are.
        """
        named = [s.name for s in declaration.oracle.sources]
        if named and not any(s in named for s in venue.sources):
            raise ConfigInvalid(
                where="oracle.sources",
                what=f"at least one must be a source of the venue, {list(venue.sources)}",
                found=repr(named),
            )
        declaration.bands.refuse_unknown([i.symbol for i in venue.instruments])
        _refuse_unknown_payers(declaration.waterfall, [i.symbol for i in venue.instruments])
        source_of = tuple(
            (named.index(s) if s in named else -1) if named else n
            for n, s in enumerate(venue.sources)
        )
        bound = msgspec.structs.replace(
            declaration,
            planner=declaration.planner.scaled(venue),
            throttle=_throttle(declaration, venue),
            rate=declaration.rate.scaled(venue),
            backstop=declaration.backstop.scaled(venue),
            waterfall=declaration.waterfall.scaled(venue),
            withdrawals=declaration.withdrawals.scaled(venue),
            caps=declaration.caps.bound(venue),
        )
        declaration.soft.prove(venue)
        _refuse_many_orders(bound.route, venue)
        if isinstance(bound.route, Sale | SplitRoute):
            bound = msgspec.structs.replace(bound, route=bound.route.scaled(venue))
        facts = declaration.margin.columns(venue)
        cash_max = _cash_max(facts, venue)
        lots = [venue.held_max(i) for i in venue.instruments]
        cost = [i.value_max(i.lots_max) for i in venue.instruments]
        return cls(
            declaration=bound,
            venue=venue,
            facts=facts,
            source_of=source_of,
            cash_max=cash_max,
            held_max=(np.array([*lots, cash_max]), np.array([*cost, MONEY_MAX])),
        )

    @property
    def digest(self) -> str:
        """Identity of declaration and venue together."""
        encoder = msgspec.msgpack.Encoder(order="deterministic")
        both = encoder.encode(self.declaration) + encoder.encode(self.venue)
        return hashlib.blake2b(both, digest_size=8).hexdigest()

    @property
    def auctions(self) -> AnySale | None:
        """The route, or the part of it, by which closes are offered to bidders."""
        route = self.declaration.route
        if isinstance(route, SplitRoute):
            return route.sale
        return route if isinstance(route, Sale) else None

    @property
    def batches(self) -> BatchRoute | None:
        """The same, where bids are collected and cleared together."""
        route = self.auctions
        return route if isinstance(route, BatchRoute) else None

    @property
    def split(self) -> SplitRoute | None:
        """The route, where the order book has a part of each close."""
        route = self.declaration.route
        return route if isinstance(route, SplitRoute) else None

    @property
    def name(self) -> str:
        """The declaration's name."""
        return self.declaration.name


def _refuse_many_orders(route: object, venue: Venue) -> None:
    """Refuse more orders than one step has numbers for; auctions and what they leave need some."""
    most = AUCTIONED_MAX if isinstance(route, Sale | SplitRoute) else ORDERS_MAX
    if venue.limits.orders_max > most:
        raise ConfigInvalid(
            where="venue.limits.orders_max",
            what=f"must be <= {most:_} with this route: order numbers of a step would collide",
            found=f"{venue.limits.orders_max:_}",
        )


def _refuse_unknown_payers(waterfall: Waterfall, symbols: list[str]) -> None:
    """Refuse markets that the venue does not have: their money would never pay anything."""
    named = {f"tranches.{t.name}.market": t.market for t in waterfall.tranches if t.market}
    if "*" not in waterfall.betas:
        named |= {f"betas.{symbol}": symbol for symbol in waterfall.betas}
    for where, symbol in named.items():
        if symbol not in symbols:
            raise ConfigInvalid(
                where=f"waterfall.{where}",
                what=f"must be an instrument of the venue, one of {symbols}",
                found=repr(symbol),
            )


def _throttle(declaration: SafeguardStack, venue: Venue) -> AnyThrottle:
    """Return the throttle at the venue's scale; raise ConfigInvalid where it cannot work there."""
    throttle = declaration.throttle
    symbols = [i.symbol for i in venue.instruments]
    unknown = sorted(set(getattr(throttle, "lots", {})) - set(symbols))
    if unknown:
        raise ConfigInvalid(
            where="throttle.lots",
            what=f"must name instruments of the venue, {symbols}",
            found=repr(unknown),
        )
    return throttle.scaled(venue)


def _cash_max(facts: Facts, venue: Venue) -> int:
    """Return how much cash an account may own or owe beside its largest positions.

    Requirements above 100 % of a debt count in full: an account's equity and requirement must each
    be a sum that cannot wrap. Raise ConfigInvalid where that leaves less than ``balance_max``.
    """
    debt = np.maximum(facts.debt_initial, facts.debt_maintenance)
    rates = np.maximum(debt, PPM).tolist()
    worst = sum(
        venue.worth_max(i) * rate // PPM + 1
        for i, rate in zip(venue.instruments, rates, strict=True)
    )
    most = max(0, MONEY_MAX - worst) * PPM // max(PPM, *facts.cash_debt.tolist())
    if most < venue.limits.balance_max:
        raise ConfigInvalid(
            where="margin",
            what=f"with these rates on debts, limits.balance_max must be <= {most:_}",
            found=f"{venue.limits.balance_max:_}",
            hint="lower balance_max, lots_max or price_max of the venue, or the rates on debts",
        )
    return most


def parameter_max(stack: Stack, column: str, row: int) -> int:
    """Return the largest value a dated change may write into a cell: what the range proof covers.

    Rates on debts may rise to 100 %, or to what the stack declares if that is more.
    """
    facts = stack.facts
    match column:
        case "penalty" | "tier_maintenance" | "tier_initial":
            return PPM
        case "pause":
            return 1
        case "debt_maintenance" | "debt_initial":
            return max(PPM, int(facts.debt_maintenance[row]), int(facts.debt_initial[row]))
        case "cash_debt":
            return max(PPM, *facts.cash_debt.tolist())
        case "premium":
            return isqrt(MONEY_MAX // int(stack.held_max[0][row]))
        case _:
            return MONEY_MAX  # dust and open interest, in Money


def parameter_cell(facts: Facts, venue: Venue, name: str) -> tuple[str, int] | None:
    """Return the (column, row) a dated parameter change may write, or None for an unknown name.

    Names are ``COLUMN.SYMBOL`` for the columns of `MUTABLE`, ``cash_debt.maintenance`` and
    ``cash_debt.initial``, ``pause.ACTION.SYMBOL``, where the symbol ``cash`` is cash, and for the
    rates of tier K (0 where it is left out) ``maintenance.SYMBOL.K`` and ``initial.SYMBOL.K``.
    """
    column, _, rest = name.partition(".")
    if column == "pause":
        return _pause_cell(venue, rest)
    if column in {"maintenance", "initial"}:
        return _tier_cell(facts, venue, column, rest)
    if column == "cash_debt" and rest in {"maintenance", "initial"}:
        return column, ("maintenance", "initial").index(rest)
    symbols = [i.symbol for i in venue.instruments]
    if column in MUTABLE and rest in symbols:
        assert hasattr(facts, column)
        return column, symbols.index(rest)
    return None


def _pause_cell(venue: Venue, rest: str) -> tuple[str, int] | None:
    action, _, symbol = rest.partition(".")
    symbols = [*(i.symbol for i in venue.instruments), "cash"]
    if action not in ACTIONS or symbol not in symbols:
        return None
    return "pause", pause_row(symbols.index(symbol), action)


def _tier_cell(facts: Facts, venue: Venue, column: str, rest: str) -> tuple[str, int] | None:
    symbols = [i.symbol for i in venue.instruments]
    symbol, tier = rest, "0"
    if symbol not in symbols:
        symbol, _, tier = rest.rpartition(".")
    if symbol not in symbols or not (tier.isascii() and tier.isdigit()):
        return None
    start, end = facts.tier_start[symbols.index(symbol) :][:2].tolist()
    row = start + int(tier)
    return (f"tier_{column}", row) if row < end else None


def copied(facts: Facts) -> Facts:
    """Return facts whose mutable columns belong to one state alone."""
    return Facts(*(np.array(column, np.int64) for column in facts))


def gate_column(quality: I64, worst: int) -> I64:
    """Return 1 where a mark of this quality may be used, 0 elsewhere."""
    return (quality <= worst).astype(np.int64)
