"""Stress of a book: worlds x stacks x paths through the true engine, kept as they finish."""

from tidegate.lab.stress.plan import Forecast, Plan, paths_for_size
from tidegate.lab.stress.questions import Point
from tidegate.lab.stress.run import Hearer
from tidegate.lab.stress.whole import LOAN_STACKS, SEED, STACKS, WORLDS, Stressed, plan_of, stressed


__all__ = [
    "LOAN_STACKS",
    "SEED",
    "STACKS",
    "WORLDS",
    "Forecast",
    "Hearer",
    "Plan",
    "Point",
    "Stressed",
    "paths_for_size",
    "plan_of",
    "stressed",
]
