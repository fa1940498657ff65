"""What a benchmark found: our time, everybody else's in the same run, and the conditions."""

from collections.abc import Mapping

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. Times are seconds: medians of at least five runs after a warm-up."""

    name: str
    seconds: float
    per_second: float  # units of work a second; ``conditions`` say of what
    yardsticks: dict[str, float]  # seconds; same work, same run, answers equal before timing
    ratio: float | None  # the best comparable yardstick's time / ours; None where there is none
    conditions: str  # sizes, threads, form, notes
    also: dict[str, float] = {}  # further figures, the unit in the name: "p99_ms", "cold_seconds"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of benchmarks was measured on, and at which size."""

    processor: str
    cores: int
    threads: int  # that a kernel may use
    scale: float  # what all sizes were multiplied by
    memory_gib: float
    system: str
    python: str
    versions: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `tidegate bench --json` prints."""

    results: list[Result]
    machine: Machine

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


def found(
    name: str,
    seconds: float,
    *,
    work: float,
    conditions: str,
    yardsticks: Mapping[str, float] | None = None,
    beside: tuple[str, ...] = (),
    also: Mapping[str, float] | None = None,
) -> Result:
    """Return the result of doing ``work`` units in ``seconds``.

    The ratio is taken to the fastest of the yardsticks. Those named in ``beside`` are shown and not
    compared with: they answer less than ours, or less exactly.
    """
    yardsticks = dict(yardsticks or {})
    assert set(beside) <= set(yardsticks), "only what was measured can stand beside"
    comparable = [t for yardstick, t in yardsticks.items() if yardstick not in beside]
    return Result(
        name=name,
        seconds=seconds,
        per_second=work / seconds,
        yardsticks=yardsticks,
        ratio=min(comparable) / seconds if comparable else None,
        conditions=conditions,
        also=dict(also or {}),
    )
