"""What each benchmark is held to: a limit, the aim beyond it, and the ratio to other libraries."""

from typing import Final, NamedTuple

from tidegate.lab.bench.result import Result


class Target(NamedTuple):
    """A promise about one result; only what is not zero is promised."""

    words: str
    seconds_max: float = 0.0
    per_second_min: float = 0.0
    ratio_min: float = 0.0
    against: tuple[str, ...] = ()  # yardsticks whose names begin so; all where empty

    def met(self, result: Result) -> bool:
        """Return whether a result at full size keeps the promise."""
        if self.seconds_max and result.seconds > self.seconds_max:
            return False
        if result.per_second < self.per_second_min:
            return False
        if not self.ratio_min:
            return True
        theirs = [
            seconds
            for name, seconds in result.yardsticks.items()
            if not self.against or name.lower().startswith(self.against)
        ]
        return bool(theirs) and min(theirs) / result.seconds >= self.ratio_min


TARGETS: Final[dict[str, Target]] = {
    "sweep_1m": Target(
        "under 10 ms, aim 5; 12 times the best data frame, aim 25",
        seconds_max=0.010,
        ratio_min=12,
        against=("polars", "duckdb", "pandas"),
    ),
    "tick_1m": Target("under 100 us, aim 50", seconds_max=100e-6),
    "profile_1m": Target("under 5 ms", seconds_max=0.005),
    "scenarios": Target(
        "under 0.25 s, aim 0.15; 15 times BLAS and SciPy",
        seconds_max=0.25,
        ratio_min=15,
        against=("blas", "numpy", "scipy"),
    ),
    "paths_single": Target("under 0.2 s", seconds_max=0.2),
    "paths_multi": Target("under 15 us a path and step, aim 5", per_second_min=1e6 / 15),
    "decide_50k": Target("under 25 ms", seconds_max=0.025),
    "journal": Target("200,000 events/s or more", per_second_min=200_000),
    "first_run": Target("under 60 s of compiling", seconds_max=60),
}
