"""What every test may ask for: hypothesis profiles, golden journals, the folder of real data.

Profiles: `fast` while writing code, `ci` in `make test` (derandomised: a red run is red again),
`soak` overnight. There is no deadline in any of them: a JIT pause is not a bug.
"""

import difflib
import gc
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


pytest_plugins = ["servers"]  # postgres_url, nats_url

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
SHARED = TESTS.parent.parent / "shared"
DIFF_LINES_MAX = 60

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("fast", deadline=None, max_examples=50, suppress_health_check=_SLOW)
settings.register_profile(
    "ci", deadline=None, max_examples=500, derandomize=True, suppress_health_check=_SLOW
)
settings.register_profile("soak", deadline=None, max_examples=50_000, suppress_health_check=_SLOW)
_DEFAULT = "ci" if "CI" in os.environ else "fast"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or _DEFAULT)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--bless` rewrites the golden files; `--soak-budget` bounds the long randomised runs."""
    parser.addoption("--bless", action="store_true", help="rewrite golden files (make bless)")
    parser.addoption(
        "--soak-budget",
        type=float,
        metavar="SECONDS",
        help="begin no further soak test once they have taken this long, per worker",
    )


soaked = pytest.StashKey[float]()  # seconds this worker has spent in soak tests


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Skip a soak test whose budget is spent; `make soak` runs them all."""
    if item.get_closest_marker("soak") is None:
        return (yield)
    budget, spent = item.config.getoption("--soak-budget"), item.config.stash.get(soaked, 0.0)
    if budget is not None and spent >= budget:
        item.add_marker(pytest.mark.skip(reason=f"the soak budget of {budget:g} s is spent"))
    begun = time.monotonic()
    try:
        return (yield)
    finally:
        item.config.stash[soaked] = spent + time.monotonic() - begun


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whoever compares with a golden file, so that `-m golden` finds them all."""
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)


@pytest.fixture
def frozen() -> Generator[None]:
    """Keep what lives already out of collections: whoever times something collects before each run.

    In a process that has run a thousand tests each of these would take half a second.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Golden:
    """Compares text with tests/golden/NAME.txt, or writes it there under `--bless`."""

    def __init__(self, *, bless: bool) -> None:
        self.bless = bless

    def __call__(self, name: str, found: str | Iterable[str]) -> None:
        """Fail with a readable diff when ``found`` (text, or lines) is not what was blessed."""
        text = found if isinstance(found, str) else "\n".join(found)
        text = text.rstrip("\n") + "\n"
        path = GOLDEN / f"{name}.txt"
        if self.bless:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"no golden file {path.name}: read the output, then `make bless`")
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            diff = list(
                difflib.unified_diff(
                    expected.splitlines(), text.splitlines(), "blessed", "found", lineterm="", n=2
                )
            )
            more = len(diff) - DIFF_LINES_MAX
            shown = diff[:DIFF_LINES_MAX] + ([f"... and {more} more lines"] if more > 0 else [])
            pytest.fail(
                f"{path.name} changed; if the new behaviour is meant, `make bless` and say so in "
                "changelog.d\n" + "\n".join(shown),
                pytrace=False,
            )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str | Iterable[str]], None]:
    """Return a function ``golden(name, text_or_lines)``; integers make its diffs exact."""
    return Golden(bless=request.config.getoption("--bless"))


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Yield what begins real processes of the service: a `processes.World`."""
    from processes import World  # noqa: PLC0415 - it brings the whole service

    one = World(tmp_path_factory.mktemp("nursery"))
    yield one
    one.close()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data beside the checkout, or skip where it was not delivered."""
    if not SHARED.is_dir():
        pytest.skip("the folder `shared` is not beside this checkout: real data was not delivered")
    return SHARED
