"""What an incident is: a venue, a script, a bare and a guarded rule, and claims about both.

A claim about the bare rule is the published figure with its error; a claim about our stack is what
it must do instead. An incident is two files: NAME.py with the script, and NAME.toml with the
words, the venue, the stacks and the claims. Add your own, and run ``tidegate incident NAME.py``.
"""

import datetime as dt
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

import msgspec

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Input
from tidegate.domain.units import PPM
from tidegate.domain.venue import Venue
from tidegate.drivers.replay import Replay
from tidegate.drivers.streams import Streams
from tidegate.drivers.verdict import Meter, Verdict
from tidegate.incidents.scene import Scene
from tidegate.safeguards.stack import SafeguardStack, Stack


BARE, OURS = "bare", "ours"
HERE: Final = Path(__file__).parent


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something published: what was said, and by whom."""

    what: str
    source: str


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a measure of one stack's run must come to: ``low <= measure <= high``."""

    stack: str
    measure: str
    low: float
    high: float
    why: str  # the published figure and its error, or what the safeguard promises


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything NAME.toml may say. ``common`` is part of both stacks."""

    title: str
    when: dt.date
    about: str  # what happened, for a reader who was not there
    rule: str  # the bare rule, in a sentence
    remedy: str  # what our stack does, in a sentence
    assumed: tuple[str, ...] = ()  # what is not published and was chosen
    facts: tuple[Fact, ...]
    claims: tuple[Claim, ...]
    venue: Venue
    common: dict[str, Any] = {}
    bare: dict[str, Any] = {}
    ours: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Refuse claims about a stack that there is not, and bounds the wrong way round."""
        for n, claim in enumerate(self.claims):
            if claim.stack not in {BARE, OURS} or claim.low > claim.high:
                raise ConfigInvalid(
                    where=f"claims[{n}]",
                    what="must name the stack bare or ours, and low <= high",
                    found=f"{claim.stack}: {claim.low:g}..{claim.high:g}",
                )


def _nothing(_: Scene) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Incident:
    """One re-enactment. ``script`` yields events as the engine answers; the book comes first.

    Who bids or takes over is in the script; no simulated keeper is drawn.
    """

    name: str
    words: Words
    script: Callable[[Scene], Iterator[Input]]
    measures: Callable[[Scene], Mapping[str, float]] = _nothing

    @classmethod
    def told(
        cls,
        file: str,
        script: Callable[[Scene], Iterator[Input]],
        measures: Callable[[Scene], Mapping[str, float]] = _nothing,
    ) -> Self:
        """Return the incident whose words stand beside ``file``; refuse what they may not say."""
        words = Path(file).with_suffix(".toml")
        try:
            read = msgspec.toml.decode(words.read_bytes(), type=Words)
        except (msgspec.DecodeError, FileNotFoundError) as e:
            raise ConfigInvalid(
                where=words.name, what="must hold the words of an incident", found=str(e)
            ) from e
        return cls(words.stem, read, script, measures)

    @property
    def venue(self) -> Venue:
        """The venue at which it happens."""
        return self.words.venue

    def declared(self, stack: str) -> SafeguardStack:
        """Return the stack "bare" or "ours"; raise ConfigInvalid where it is none."""
        own = {BARE: self.words.bare, OURS: self.words.ours}[stack]
        try:
            return msgspec.convert(_joined({"name": stack}, self.words.common, own), SafeguardStack)
        except msgspec.ValidationError as e:
            raise ConfigInvalid(
                where=f"{self.name}.toml: {stack}", what="must be a stack", found=str(e)
            ) from e


def _joined(*tables: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = _joined(out[key], cast("dict[str, Any]", value)) if both else value
    return out


def shipped() -> list[str]:
    """Return the names of the incidents that come with the package, oldest first."""
    return sorted((p.stem for p in HERE.glob("*.toml")), key=lambda name: (name[-4:], name))


def incident(wanted: str) -> Incident:
    """Return an incident that comes with the package, or that of a Python file of yours."""
    path = Path(wanted)
    if wanted in shipped():
        path = HERE / f"{wanted}.py"
    if path.suffix != ".py" or not path.is_file():
        raise ConfigInvalid(
            where="incident",
            what=f"must be a Python file or one of {', '.join(shipped())}",
            found=repr(wanted),
        )
    spec = importlib.util.spec_from_file_location(f"tidegate_incident_{path.stem}", path)
    assert spec is not None, "a Python file has a loader"
    assert spec.loader is not None, "ditto"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "INCIDENT", None)
    if not isinstance(found, Incident):
        raise ConfigInvalid(where=path.name, what="must define INCIDENT", found=repr(found))
    return found


class Played(NamedTuple):
    """One stack's way through an incident."""

    stack: str
    verdict: Verdict
    measures: dict[str, float]  # in units of the numeraire, seconds, counts

    def found(self, measure: str) -> float:
        """Return a measure; what is counted by a dotted name and never happened is 0."""
        return self.measures.get(measure, 0.0) if "." in measure else self.measures[measure]


class Held(NamedTuple):
    """A claim beside what was measured."""

    claim: Claim
    found: float

    @property
    def holds(self) -> bool:
        """Whether the measure lies within the claim."""
        return self.claim.low <= self.found <= self.claim.high


def play(one: Incident, stack: str, *, path: int = 0) -> Played:
    """Turn the crank over an incident's script under one of its stacks."""
    bound = Stack.bind(one.declared(stack), one.venue)
    scene = Scene(one.venue, bound)
    meter = Meter(bound)
    turning = Replay(
        recording=_Script(one, scene),
        stack=bound,
        observers=[meter.observe, scene.observe],
        streams=Streams(root=one.venue.seed, path=path),
        keepers=False,
    )
    scene.turning = turning
    turning.run()
    verdict = meter.verdict(turning.state)
    measures = {**_common(verdict), **scene.measures(), **one.measures(scene)}
    return Played(stack, verdict, measures)


def held(one: Incident, runs: Mapping[str, Played]) -> list[Held]:
    """Return every claim of an incident beside what its runs came to."""
    return [Held(claim, runs[claim.stack].found(claim.measure)) for claim in one.words.claims]


@dataclass(slots=True)
class _Script:
    one: Incident
    scene: Scene

    @property
    def venue(self) -> Venue:
        return self.one.venue

    def events(self, *, shadow: bool = False) -> Iterator[Input]:
        del shadow
        yield from self.one.script(self.scene)


def _common(v: Verdict) -> dict[str, float]:
    return {
        "bad_debt": v.bad_debt / PPM,
        "deficit_at_end": v.deficit_at_end / PPM,
        "loss": v.loss / PPM,
        "fund_used": sum(v.fund_used) / PPM,
        "uncovered": v.uncovered / PPM,
        "socialised": v.socialised_loss / PPM,
        "adl_profit_taken": v.adl_profit_taken / PPM,
        "adl_volume": v.adl_volume / PPM,
        "adl_accounts": float(v.adl_accounts),
        "penalties": v.penalties / PPM,
        "forced_volume": v.forced_volume / PPM,
        "sold_volume": v.sold_volume / PPM,
        "backstop_volume": v.backstop_volume / PPM,
        "accounts_liquidated": float(v.accounts_liquidated),
        "orders": float(v.orders),
        "peak_impact_percent": v.peak_impact_ppm / 10_000,
        "insolvent_seconds": v.insolvent_seconds,
        "halt_seconds": v.rung_seconds[-1],
    }
