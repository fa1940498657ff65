"""How well a rare loss is estimated where its probability is known: print the table of the docs."""

from math import log, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

from scipy.stats import norm, poisson

from tidegate.domain.units import SECOND
from tidegate.drivers.recording import load
from tidegate.drivers.shelf import load_stack
from tidegate.drivers.synthetic import make
from tidegate.lab.levels import rare_loss
from tidegate.lab.opening import Opening
from tidegate.lab.rare import rare, tilt_for
from tidegate.lab.tilted import TiltedJumps


HOUR = 3_600 * SECOND
PILOTS, PATHS = 1_000, 4_000


def exact(law, fall):
    """Return P(a day ends ``fall`` lower): a Poisson mixture of normals, Merton (1976)."""
    day = law.steps * law.step_ns / (365 * 24 * HOUR)
    line = log(1 - fall) + law.vol**2 / 2 * day
    deviation = [sqrt(law.vol**2 * day + k * law.jump_deviation**2) for k in range(20)]
    return sum(
        poisson.pmf(k, law.intensity * day) * norm.cdf((line - k * law.jump_mean) / deviation[k])
        for k in range(20)
    )


def on_a_book(folder):
    """Print how likely a made book loses more than its fund within an hour, by both levels."""
    make(folder, accounts=100, seed=7)
    book = Opening.of(load(folder))
    law = TiltedJumps(
        vol=1.0, steps=12, step_ns=300 * SECOND, correlation=0.8,
        intensity=20.0, jump_mean=-0.1, jump_deviation=0.1,
    )  # fmt: skip
    fund = 91_200 * 10**6  # Money: 400 million at this book's scale
    found = rare_loss(book, law, load_stack("guarded"), fund, root=1, many=10_000, pairs=range(60))
    cheap, dear = found.cheap, found.dear
    print(
        f"kernels, {cheap.paths} paths: {cheap.probability.value:.3g} +- {cheap.relative_error:.0%}"
    )
    print(f"engine, {dear.paths} paths: {dear.probability.value:.3g} +- {dear.relative_error:.0%}")
    print(f"effective paths beyond the fund: {cheap.effective:.0f} and {dear.effective:.0f}")
    both = found.both
    print(f"both: {both.estimate}, correction {both.correction:.2g}")


def main():
    calm = TiltedJumps(vol=0.8, steps=24, step_ns=HOUR)
    jumpy = TiltedJumps(
        vol=0.5, steps=24, step_ns=HOUR, intensity=2.0, jump_mean=-0.1, jump_deviation=0.05
    )
    print("| law | fall | exact | estimate | relative error | rounds | plain paths for the same |")
    print("|---|---|---|---|---|---|---|")
    for name, law, fall in (
        ("diffusion", calm, 0.15),
        ("diffusion", calm, 0.2),
        ("diffusion", calm, 0.25),
        ("with jumps", jumpy, 0.25),
        ("with jumps", jumpy, 0.35),
        ("with jumps", jumpy, 0.45),
    ):

        def fallen(weather):
            return 1 - weather.price[:, -1, 0]

        found = tilt_for(law, fallen, fall, ["BTC"], root=1, paths=PILOTS)
        world, paths = law.under(found.tilt), range(10**6, 10**6 + PATHS)
        seen = rare(fallen(world.weather(1, paths, ["BTC"])), world.weights(1, paths), fall)
        truth = exact(law, fall)
        plain = (1 - truth) / truth / seen.relative_error**2
        print(
            f"| {name} | {fall:.0%} | {truth:.3g} | {seen.probability.value:.3g} | "
            f"{seen.relative_error:.1%} | {len(found.thresholds)} | {plain:.2g} |"
        )
    with TemporaryDirectory() as folder:
        on_a_book(Path(folder) / "book")


if __name__ == "__main__":
    main()
