"""What a person should know now: alerts that open, stay open while it holds, and do not flap.

Two ways lead here. What can be looked at is judged by rules once a second (`alert_rules`); what
happens to a part of the service is told by that part (`raised`), from any thread. An alert opens at
once, or after its cause has held for a while; it closes after a quiet time of its own, so that what
comes and goes is one alert and not twenty.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import structlog

from tidegate.adapters.clock import WallClock
from tidegate.api.answers import Alert, AlertMoved
from tidegate.ports import Clock


Severity: TypeAlias = Literal["page", "warn", "info"]
ORDER: Final[Mapping[str, int]] = {"page": 0, "warn": 1, "info": 2}
DETAIL_MAX: Final = 500
UNKNOWN_MAX: Final = 32  # codes that no table knows


class Kind(NamedTuple):
    """One kind of alert: how bad it is, how long it must hold to open, and be gone to close."""

    severity: Severity
    opens_s: float = 0.0
    closes_s: float = 60.0


# Each has a part of its own in docs/guides/runbook.md; a test holds the two together.
KINDS: Final[Mapping[str, Kind]] = {
    # money and risk
    "rung_raised": Kind("warn"),
    "rung_high": Kind("page"),
    "branching_near_one": Kind("page", 2.0),
    "deficit_found": Kind("page", 0.0, 900.0),
    "deleveraged": Kind("page", 0.0, 900.0),
    "fund_below": Kind("page", 0.0, 300.0),
    "orders_unanswered": Kind("page", 5.0, 30.0),
    "book_drifts": Kind("page", 0.0, 300.0),
    "kill_switch_on": Kind("warn", 0.0, 0.0),
    # prices and feeds
    "source_stale": Kind("warn", 2.0),
    "source_doubtful": Kind("page", 5.0),
    "feed_silent": Kind("page", 0.0, 30.0),
    "feed_stopped": Kind("page", 0.0, 30.0),
    "feed_away": Kind("warn", 0.0, 30.0),
    "dead_letter": Kind("warn", 0.0, 900.0),
    "clock_jumped": Kind("page", 0.0, 300.0),
    # the process
    "crank_stopped": Kind("page"),
    "crank_stuck": Kind("page", 0.0, 30.0),
    "queue_near_full": Kind("warn", 2.0),
    "journal_slow": Kind("warn", 0.0, 120.0),
    "snapshot_failed": Kind("warn", 0.0, 300.0),
    "disk_low": Kind("page", 0.0, 300.0),
    "book_near_full": Kind("warn", 0.0, 300.0),
    "leader_changed": Kind("warn", 0.0, 900.0),
    "standby_behind": Kind("warn", 10.0),
    # access
    "keys_unreadable": Kind("warn", 0.0, 900.0),
    "audit_lost": Kind("warn", 0.0, 900.0),
}
_UNKNOWN: Final = Kind("warn", 0.0, 900.0)


@dataclass(slots=True)
class _State:
    detail: str
    first: float  # steady time since when it has held
    last: float  # steady time when it last held
    since: int  # by the engine's clock
    open: bool = False


class Alerts:
    """The alerts of one process; a `ports.Alerts`.

    Parameters
    ----------
    clock
        Dates alerts; `watching.watched` puts the engine's own here. A guarded clock raises alerts
        itself, so it can only come later.
    tell
        Told of every alert that opens or closes, in the thread that calls `settle`.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        tell: Callable[[AlertMoved], None] = lambda _: None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tell = tell
        self.clock: Clock = clock or WallClock()
        self._steady = steady
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}
        self._pushed: dict[str, str] = {}  # code to detail, since the last look
        self._log = structlog.get_logger("tidegate.alerts")

    def raised(self, code: str, detail: str) -> None:
        """Take an alert from a part of the service; any thread may, and it never raises."""
        with self._lock:
            if code not in KINDS and len(self._pushed) >= UNKNOWN_MAX:
                return
            self._pushed[code] = detail[:DETAIL_MAX]

    def is_open(self, code: str) -> bool:
        """Tell whether an alert is open: what has opened closes at a lower threshold."""
        state = self._states.get(code)
        return state is not None and state.open

    def settle(self, found: Mapping[str, str]) -> list[AlertMoved]:
        """Take what was found at this look, code to detail; return and tell what moved."""
        with self._lock:
            pushed, self._pushed = self._pushed, {}
        # Not under the lock: a clock that is asked may itself raise an alert.
        now, ts = self._steady(), self.clock.now()
        with self._lock:
            moved = [*self._held({**pushed, **found}, now, ts), *self._gone(now)]
        for one in moved:
            self._say(one)
            self.tell(one)
        return moved

    def active(self) -> list[Alert]:
        """Return what is open: the worst first, then the newest."""
        with self._lock:
            found = [
                Alert(code=c, detail=s.detail, since=s.since, severity=_kind(c).severity)
                for c, s in self._states.items()
                if s.open
            ]
        return sorted(found, key=lambda a: (ORDER[a.severity], -a.since, a.code))

    def table(self) -> list[tuple[str, str, bool]]:
        """Return every known code with its severity, and whether it is open."""
        with self._lock:
            is_open = {code for code, state in self._states.items() if state.open}
        return [(c, _kind(c).severity, c in is_open) for c in sorted({*KINDS, *is_open})]

    def _held(self, found: Mapping[str, str], now: float, ts: int) -> Iterator[AlertMoved]:
        for code, detail in found.items():
            state = self._states.get(code)
            if state is None:
                state = self._states[code] = _State(detail[:DETAIL_MAX], now, now, ts)
            state.last, state.detail = now, detail[:DETAIL_MAX]
            if not state.open and now - state.first >= _kind(code).opens_s:
                state.open = True
                yield _moved(code, state, "opened")

    def _gone(self, now: float) -> Iterator[AlertMoved]:
        for code, state in list(self._states.items()):
            quiet = now - state.last
            if not state.open:
                if quiet > 0:  # it did not hold for long enough
                    del self._states[code]
            elif quiet > 0 and quiet >= _kind(code).closes_s:
                del self._states[code]
                yield _moved(code, state, "closed")

    def _say(self, one: AlertMoved) -> None:
        said = self._log.info if one.moved == "closed" or one.severity == "info" else None
        said = said or (self._log.error if one.severity == "page" else self._log.warning)
        said(f"alert_{one.moved}", code=one.code, severity=one.severity, detail=one.detail)


def _kind(code: str) -> Kind:
    return KINDS.get(code, _UNKNOWN)


def _moved(code: str, state: _State, moved: Literal["opened", "closed"]) -> AlertMoved:
    return AlertMoved(
        code=code,
        detail=state.detail,
        since=state.since,
        severity=_kind(code).severity,
        moved=moved,
    )
