"""The experiments: what is asked, on which weather, with which keys of the stack file changed."""

from dataclasses import dataclass, field
from typing import Any


SECOND = 1_000_000_000
MILLION = 10**12  # USD, at the scale of a real venue


@dataclass(frozen=True, slots=True)
class Experiment:
    """One question, and the variants of a stack that answer it; the first is the reference.

    A variant is what its stack file would say otherwise; its key ``base`` names another file.
    """

    name: str
    title: str
    question: str
    variants: dict[str, dict[str, Any]]
    base: str = "guarded"
    scenario: str = "october"
    depth: float = 1
    model: dict[str, int] = field(default_factory=dict[str, int])
    step_ns: int = 0
    providers: int = 0
    loans: bool = False
    caution: str = ""


SALE = {  # what the shipped auction stack says of any sale
    "floor": 30_000,
    "life_ns": 15 * SECOND,
    "release": 1_250_000,
    "dust": 100_000_000,
    "in_flight_max": 1_000 * MILLION,
    "spread": 1_500_000,
    "adjustment": 2_000_000,
}
STOREFRONT = {**SALE, "kind": "fixed_spread", "discount": 10_000}
SPLIT = {
    "kind": "split",
    "book_reach": 5_000,
    "book_share": 1_000_000,
    "book": {"spread": 1_500_000, "adjustment": 2_000_000},
    "sale": {
        **SALE,
        "kind": "auction",
        "curve": "exponential",
        "buffer": 0,
        "cut": 995_000,
        "tail_ns": 10 * SECOND,
        "drift": 10_000,
    },
}
NO_THROTTLE = {"planner": {"depth_share": 0}}

HOW_MUCH = (
    Experiment(
        name="throttle",
        title="Throttles",
        question="Does releasing no more than the market can take pay for the wait? Static: the "
        "same amount each window. Window: the same, over any window. Depth: a share of the "
        "measured book. Fund: more of it as open deficits near the fund.",
        variants={
            "none": NO_THROTTLE,
            "static": {**NO_THROTTLE, "throttle": {"kind": "static", "amount": 20 * MILLION}},
            "window": {**NO_THROTTLE, "throttle": {"kind": "window", "amount": 20 * MILLION}},
            "depth": {},
            "fund": {
                **NO_THROTTLE,
                "throttle": {
                    "kind": "fund",
                    "slow": 600_000,
                    "fast": 1_000_000,
                    "cover": 100_000,
                    "reach": 20_000,
                    "window_ns": 5 * SECOND,
                },
            },
        },
        caution="Part of what a throttle saves on the book is closed against winners instead.",
    ),
    Experiment(
        name="throttle-no-resilience",
        title="Throttles where depth never comes back",
        question="Patience is worth something only if the book recovers. Without recovery?",
        variants={"none": NO_THROTTLE, "depth": {}},
        model={"resilience_ns": 0},
    ),
    Experiment(
        name="optimal-rate",
        title="The slowest schedule that covers the debt",
        question="A solver outside the core asks to sell no faster than it must.",
        variants={
            "throttle alone": {},
            "with the schedule": {"rate": {"confidence": 900_000, "escalate": True}},
        },
    ),
    Experiment(
        name="slices",
        title="Stages in randomised slices",
        question="Eight parts at moments nobody can foresee, instead of one.",
        variants={"at once": {}, "eight slices": {"slices": {"count": 8}}},
    ),
    Experiment(
        name="target",
        title="Close to a target instead of closing everything",
        question="Is it better to sell just enough of an account?",
        variants={"whole account": {"planner": {"target": 0}}, "to 1.25 of maintenance": {}},
    ),
    Experiment(
        name="priority",
        title="Whose turn it is",
        question="Deepest first, largest first, those a sale can still save, those that would push "
        "the price most, or those whose deficit grows most while they wait?",
        variants={
            name: {"planner": {"priority": name}}
            for name in ("deepest", "largest", "savable", "branching", "deficit")
        },
    ),
    Experiment(
        name="netting",
        title="Netting before any sale",
        question="What do longs and shorts that must both be closed save the book?",
        variants={"sold separately": {"planner": {"netting": False}}, "netted": {}},
        scenario="v_shape",
        caution="Hardly ever are a long and a short due at the same moment in this weather.",
    ),
    Experiment(
        name="penalty",
        title="Penalties: fixed, by health, rising, and far too large",
        question="A penalty feeds the fund with the money of those who are nearly gone.",
        variants={
            "fixed 0.5 %": {},
            "fixed 2 %": {"every_instrument": {"penalty": 20_000}},
            "linear to 2 %": {
                "every_instrument": {"penalty": 20_000},
                "penalty": {"kind": "linear"},
            },
            "rising to 2 %": {
                "every_instrument": {"penalty": 20_000},
                "penalty": {"kind": "rising", "per_distance": 500_000, "per_deviation": 20_000},
            },
            "fixed 10 %": {"every_instrument": {"penalty": 100_000}},
        },
    ),
    Experiment(
        name="large-bonus",
        title="A large fixed penalty on a bare venue",
        question="Without target sizing and throttle a large penalty makes bankrupts of the "
        "solvent. The guard never charges what would make an account worse.",
        base="bare",
        variants={
            "none": {},
            "fixed 10 %": {"every_instrument": {"penalty": 100_000}},
            "fixed 10 %, guarded": {
                "every_instrument": {"penalty": 100_000},
                "never_worse": {"mode": "incentives"},
            },
        },
    ),
    Experiment(
        name="never-worse",
        title="Never worse",
        question="No order may leave its account in a worse ratio than it found it.",
        base="bare",
        variants={
            "off": {},
            "limits": {"never_worse": {"mode": "limits"}},
            "limits, the insolvent handed over": {
                "never_worse": {"mode": "limits", "insolvent": "deleverage"}
            },
        },
    ),
)

HOW_SOLD = (
    Experiment(
        name="routes",
        title="Where it is sold",
        question="The order book; a Dutch auction; a storefront at a fixed discount; a batch; "
        "sealed bids; the book as far as half a percent and an auction for the rest.",
        variants={
            "book": {},
            "auction": {"base": "auction"},
            "fixed spread 1 %": {
                "base": "auction",
                "route": STOREFRONT,
            },
            "batch": {
                "base": "auction",
                "route": {**SALE, "kind": "batch", "window_ns": 3 * SECOND},
            },
            "sealed": {
                "base": "auction",
                "route": {**SALE, "kind": "sealed", "window_ns": 3 * SECOND},
            },
            "split": {"base": "auction", "route": SPLIT},
        },
        caution="Sixteen simulated keepers, whose capital, margins and latency are assumed.",
    ),
    Experiment(
        name="routes-thin",
        title="Where it is sold in a thin market",
        question="A quarter of the depth: do bidders help where the book cannot?",
        variants={
            "book": {},
            "auction": {"base": "auction"},
            "split": {"base": "auction", "route": SPLIT},
        },
        depth=0.25,
    ),
    Experiment(
        name="backstop",
        title="Providers who commit capacity",
        question="Four providers take over what falls below two thirds of maintenance.",
        variants={"none": {}, "backstop": {"base": "backstop"}},
        providers=4,
    ),
    Experiment(
        name="soft",
        title="Soft liquidation, down and back",
        question="Loans are converted band by band as the price falls, and back as it recovers.",
        base="loans",
        variants={"liquidated": {}, "in bands": {"base": "soft"}},
        scenario="recovery",
        loans=True,
    ),
    Experiment(
        name="soft-crash",
        title="Soft liquidation in a crash",
        question="45 % within five minutes: bands convert at prices that are gone.",
        base="loans",
        variants={"liquidated": {}, "in bands": {"base": "soft"}},
        scenario="crash",
        loans=True,
    ),
)

WHO_PAYS = (
    Experiment(
        name="deleveraging",
        title="Who is deleveraged",
        question="A queue hits few and hard, pro rata many and softly. Winners pay first here.",
        variants={
            "nobody": {
                "waterfall": {"deleverage": "none"},
                "never_worse": {"insolvent": "order"},
            },
            **{
                label: {"waterfall": {"fund_pays_first": False, **rule}}
                for label, rule in (
                    ("queue", {"deleverage": "queue"}),
                    ("random", {"deleverage": "random", "seed": 7}),
                    ("pro rata", {}),
                    ("min-max", {"deleverage": "min_max"}),
                    ("hedges spared", {"hedges": "spared"}),
                )
            },
        },
    ),
    Experiment(
        name="fund-first",
        title="The fund before the winners",
        question="Who pays a deficit first: the fund, or those who won?",
        variants={"winners first": {"waterfall": {"fund_pays_first": False}}, "fund first": {}},
    ),
    Experiment(
        name="drawdown",
        title="Deleveraging early, by the fund's drawdown",
        question="Some venues begin at 30 % and stop at 25 %.",
        variants={
            "when the fund is spent": {"never_worse": {"insolvent": "order"}},
            "from 30 %": {
                "never_worse": {"insolvent": "order"},
                "waterfall": {"drawdown_start": 300_000, "drawdown_stop": 250_000},
            },
            "from 3 %": {
                "never_worse": {"insolvent": "order"},
                "waterfall": {"drawdown_start": 30_000, "drawdown_stop": 25_000},
            },
        },
        depth=0.25,
        caution="The fund loses 7 % here, so a threshold of 30 % never acts; 3 % shows the rule. "
        "The insolvent are not handed over here, else the rule would find nobody left to take.",
    ),
)

WHAT_STOPS = (
    Experiment(
        name="breaker",
        title="The graded breaker",
        question="Does asking more of new positions help those who hold old ones?",
        variants={"no breaker": {"breaker": {"steps": []}}, "graded": {}},
        caution="No account of this recording asks to open anything, so the breaker has nobody to "
        "refuse: the row says what it does not cost, not what it saves.",
    ),
    Experiment(
        name="halt",
        title="A halt at a visible level",
        question="What happens to those inside when everything stops?",
        variants={
            "graded": {},
            "halt": {
                "breaker": {
                    "steps": [{"rung": "halt", "deviations": 6_000_000}],
                    "cooldown_ns": 300 * SECOND,
                }
            },
            "halt that expires": {
                "breaker": {
                    "steps": [{"rung": "halt", "deviations": 6_000_000}],
                    "cooldown_ns": 300 * SECOND,
                    "halt_max_ns": 30 * SECOND,
                }
            },
        },
        caution="Recorded prices do not wait for a halt: what it costs shows in deficits that grow "
        "meanwhile, what it may calm does not show. [Price bands](../concepts/price-bands.md) has "
        "a model of a crowd that runs for a visible level.",
    ),
    Experiment(
        name="bands",
        title="Price bands and pauses",
        question="Limit states, a rolling band, and a pause after a move that is too fast.",
        variants={
            "none": {},
            "limit states 10 %": {"bands": {"instruments": {"*": {"width": 100_000}}}},
            "rolling 10 %": {"bands": {"instruments": {"*": {"rolling": 100_000}}}},
            "2 % in 5 s": {"bands": {"instruments": {"*": {"velocity": 20_000}}}},
        },
    ),
    Experiment(
        name="smooth",
        title="A pace that follows the alarms",
        question="A third of the pace on a rung, in a step or sliding there.",
        variants={
            label: {
                "breaker": {
                    "smooth": smooth,
                    "steps": [{"rung": "caution", "deviations": 6_000_000, "pace": 300_000}],
                }
            }
            for label, smooth in (("step", False), ("smooth", True))
        },
    ),
    Experiment(
        name="slow-oracle",
        title="A slow oracle",
        question="Lending protocols delay their prices by up to an hour against manipulation. "
        "What does a delay cost in a real crash?",
        variants={
            "no delay": {},
            "60 s": {"oracle": {"delay_ns": 60 * SECOND}},
            "300 s": {"oracle": {"delay_ns": 300 * SECOND}},
        },
    ),
    Experiment(
        name="volatility-margin",
        title="Margin that follows volatility",
        question="Three standard deviations of an hour, of new positions only or of old ones too.",
        variants={
            "fixed": {},
            "to open": {"margin": {"volatility": {"cover": 3_000_000}}},
            "to stay as well": {
                "margin": {"volatility": {"cover": 3_000_000, "maintenance_share": 500_000}}
            },
        },
        caution="Asked of those who hold positions already, it sells more of them into the fall, "
        "which is the procyclical harm; here the earlier sales also lost less.",
    ),
)

EXPERIMENTS = (*HOW_MUCH, *HOW_SOLD, *WHO_PAYS, *WHAT_STOPS)
