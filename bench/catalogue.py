"""The experiments: what is asked, on which weather, with which keys of the stack file changed."""

from dataclasses import dataclass, field
from typing import Any


SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Experiment:
    """One question, and the variants of a stack that answer it; the first is the reference."""

    name: str
    title: str
    question: str
    variants: dict[str, dict[str, Any]]
    base: str = "guarded"
    scenario: str = "october"
    depth: float = 1
    model: dict[str, int] = field(default_factory=dict[str, int])
    step_ns: int = 0
    caution: str = ""


EXPERIMENTS = (
    Experiment(
        name="throttle",
        title="The throttle that follows depth",
        question="Does releasing no more than the measured book can take pay for the wait?",
        variants={"no throttle": {"planner": {"depth_share": 0}}, "depth": {}},
    ),
    Experiment(
        name="throttle-no-resilience",
        title="The same throttle where depth never comes back",
        question="Patience is worth something only if the book recovers. Is it worth less without?",
        variants={"no throttle": {"planner": {"depth_share": 0}}, "depth": {}},
        model={"resilience_ns": 0},
    ),
    Experiment(
        name="target",
        title="Close to a target instead of closing everything",
        question="Is it better to sell just enough of an account?",
        variants={"whole account": {"planner": {"target": 0}}, "to 1.25 of maintenance": {}},
    ),
    Experiment(
        name="netting",
        title="Netting before any sale",
        question="What do longs and shorts that must both be closed save the book?",
        variants={"sold separately": {"planner": {"netting": False}}, "netted": {}},
        scenario="v_shape",
    ),
    Experiment(
        name="deleveraging",
        title="Who is deleveraged",
        question="A queue hits few and hard, pro rata many and softly. And nobody at all?",
        variants={
            "nobody": {"waterfall": {"deleverage": "none"}},
            "queue": {"waterfall": {"deleverage": "queue"}},
            "pro rata": {},
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
            "600 s": {"oracle": {"delay_ns": 600 * SECOND}},
        },
    ),
    Experiment(
        name="breaker",
        title="The graded breaker",
        question="Does asking more of new positions help those who hold old ones?",
        variants={"no breaker": {"breaker": {"steps": []}}, "graded": {}},
    ),
    Experiment(
        name="halt",
        title="A halt at a visible level",
        question="What happens to those inside when everything stops at a level all can see?",
        variants={
            "graded": {},
            "halt": {
                "breaker": {
                    "steps": [{"rung": "halt", "deviations": 6_000_000}],
                    "cooldown_ns": 300 * SECOND,
                }
            },
        },
    ),
)
