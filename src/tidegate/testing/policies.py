"""What every policy of a safeguard stack must pass."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np

from tidegate.domain.book import ACCOUNTS, EXTERNAL, FIRST_USER, Book, Health, move
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Linear
from tidegate.domain.units import I64, PPM, SECOND, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Limits, Venue
from tidegate.safeguards.breaker import NEVER, Alarms, Rung
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.oracle import Action, Quality, Seen


class Counter(NamedTuple):
    """What a policy is asked about: a book, its prices, and who in it is how healthy."""

    venue: Venue
    facts: Facts
    book: Book
    mark: I64
    health: Health


def counter(users: int) -> Counter:
    """Return a book of ``users`` long, short, healthy, sick and bankrupt accounts; 0: nobody."""
    perps = tuple(
        Linear(
            symbol=symbol,
            tick_size="1",
            lot_size="1",
            price_max=Ticks(10_000),
            lots_max=Lots(10_000),
            tick_value=Money(1_000),
        )
        for symbol in ("A", "B")
    )
    venue = Venue(name="counter", instruments=perps, limits=Limits(accounts_max=99))
    rule = Requirement(tiers=(Tier(initial=Ppm(100_000), maintenance=Ppm(50_000)),))
    model, book = MarginModel(instruments={"*": rule}), Book.empty(venue.limits, 2)
    facts, mark = model.columns(venue), np.array([100, 200], np.int64)
    for n in range(users):
        a, i, lots = FIRST_USER + n, n % 2, (1 + n) * (1 if n % 3 else -1)
        move(book, a, i, lots, lots * 1_000 * int(mark[i] + n % 5 - 2))
        move(book, EXTERNAL, i, -lots, -lots * 1_000 * int(mark[i]))
        book.cash[a] = 1_500 * n * (n % 4 - 1)
    book.counts[ACCOUNTS] = FIRST_USER + users
    health = model.assess(book, facts, mark=mark, low=mark, high=mark)
    return Counter(venue, facts, book, mark, health)


def _oracle(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - a third party's class
    del at
    now, said = 10**12, [Seen(n, 100 + 7 * n * n, n, 10**12 - n) for n in range(4)]
    times = {"now": now, "elapsed": SECOND}
    beliefs = [
        policy.believe(said[:n], mark=mark, basis=0, **times) for n in range(5) for mark in (0, 90)
    ]
    for b in beliefs:
        assert b is None or 1 <= b.low <= b.price <= b.high, "a mark lies in its interval"
    gates = [[policy.admits(action, q) for q in Quality] for action in Action]
    assert all(row == sorted(row, reverse=True) for row in gates), "worse is never admitted sooner"
    return [beliefs, gates, policy.widened(100)]


def _margin(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    ends = {"mark": at.mark, "low": at.mark - 1, "high": at.mark + 1}
    facts = policy.columns(at.venue)
    health = policy.assess(at.book, facts, **ends)
    assert health.equity.size == health.required.size == at.book.accounts
    assert (health.required >= 0).all(), "nobody is paid for taking risk"
    assert (health.best >= health.equity - health.required).all(), "doubt never liquidates"
    change = {"instrument": 0, "lots": 1, "cost": 100_000, "cash": 0, "scale": Ppm(PPM)}
    users = range(FIRST_USER, at.book.accounts)
    asked = [policy.allows(at.book, facts, mark=at.mark, account=a, **change) for a in users]
    return [list(facts), health, asked]


def _breaker(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    del at
    answers: list[Any] = []
    for rung in Rung:
        last = 0
        for level in (0, 1, 100_000, PPM, 10**9, NEVER - 1):
            alarms = Alarms(**dict.fromkeys(Alarms.__struct_fields__, level))
            answers.append(policy.climb(alarms, rung=int(rung), calm_since=-1, now=0))
            assert last <= answers[-1][0] <= Rung.HALT, "a louder alarm is no lower rung"
            last = answers[-1][0]
        assert 0 <= policy.at(int(rung)).pace <= PPM
    return answers


def _planner(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    book, answers = at.book, list[Any]()
    for room in (0, 5, 2**62):
        rooms = [np.full(2, room, np.int64) for _ in range(2)]
        plan = policy.plan(
            book,
            at.facts,
            at.health,
            mark=at.mark,
            gate=np.ones(2, np.int64),
            staged_at=np.full(book.accounts, -1, np.int64),
            now=Nanos(0),
            room_sell=rooms[0],
            room_buy=rooms[1],
        )
        answers.append(plan)
        if plan is None:
            continue
        lots, moved = book.lots[plan.row], plan.netted + plan.ordered
        assert (moved * lots < 0).all(), "a close has the other sign"
        assert (np.abs(moved) <= np.abs(lots)).all(), "no more is closed than is held"
        assert np.unique(plan.row).size == plan.row.size, "a position is closed once"
        assert (at.health.best[book.account[plan.row]] < 0).all(), "the healthy are left alone"
        for side, left in ((-1, rooms[0]), (1, rooms[1])):
            used = np.zeros(2, np.int64)
            np.add.at(used, book.instrument[plan.row], np.maximum(side * plan.ordered, 0))
            assert (left == room - used).all(), "what is ordered is drawn from its room"
    return answers


def _route(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    row = np.flatnonzero((at.book.account >= FIRST_USER) & (at.book.lots != 0))
    asked = {"mark": at.mark, "row": row, "ordered": -at.book.lots[row]}
    free = policy.limits(at.book, at.facts, at.health, band=Ppm(0), **asked)
    held = policy.limits(at.book, at.facts, at.health, band=Ppm(20_000), **asked)
    i = at.book.instrument[row]
    assert ((free >= 1) & (free <= at.facts.price_max[i])).all(), "a limit is a price"
    assert (np.abs(held - at.mark[i]) * PPM <= at.mark[i] * 20_000).all(), "bands bind"
    return [free, held]


def _backstop(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    del at
    answers: list[Any] = []
    for most in (0, 1, 1_000):
        for elapsed in (0, policy.window_ns // 2, policy.window_ns):
            room, left = policy.room(most=most, spent=most, elapsed=elapsed)
            assert room >= 0 <= left <= most, "a guard's bucket only drains"
            assert not most or room + left == most, "what is not in the bucket is room"
            answers.append((room, left))
    return answers


def _waterfall(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    balance, answers = [7] * len(policy.tranches), list[Any]()
    for deficit in (0, 1, 10, 10**9):
        paid = policy.draws(deficit, balance=balance, lost=0)
        assert sum(paid) <= deficit, "nobody pays for more than the deficit"
        assert all(0 <= p <= b for p, b in zip(paid, balance, strict=True)), "no tranche owes"
        who, share = policy.shares(deficit, at.health, at.book.cash)
        assert int(share.sum()) <= deficit, "no more is shared than is left"
        assert (share <= at.health.equity[who]).all(), "nobody pays more than they have"
        answers += [paid, who, share]
    for side in (1, -1):
        asked = {"mark": at.mark, "instrument": 0, "side": side, "lots": 9, "deficit": 10}
        closing = policy.closing(at.book, at.facts, at.health, **asked)
        assert int(closing.lots.sum()) + closing.unmatched == 9, "lots are matched or are not"
        assert (closing.lots <= np.abs(at.book.lots[closing.row])).all()
        assert (at.book.lots[closing.row] * side < 0).all(), "winners stand on the other side"
        answers.append(closing)
    return answers


def _signals(policy: Any, at: Counter) -> list[Any]:  # noqa: ANN401 - ditto
    del at
    answers: list[Any] = [policy.slot("nobody")]
    for bound in policy.bounds:
        for value in (-(10**12), 0, 10**12):
            kept = bound.clamp(value)
            faded = [bound.faded(kept, age) for age in range(0, 3 * bound.age_max_ns, 10**9)]
            assert all(bound.neutral <= f <= kept for f in faded), "a signal only tightens"
            assert faded == sorted(faded, reverse=True), "and fades"
            answers.append(faded)
    return answers


# By the method that gives a policy its room.
EXERCISES: dict[str, Callable[[Any, Counter], list[Any]]] = {
    "believe": _oracle,
    "assess": _margin,
    "climb": _breaker,
    "plan": _planner,
    "limits": _route,
    "room": _backstop,
    "closing": _waterfall,
    "slot": _signals,
}


def plainly(answer: Any) -> Any:  # noqa: ANN401 - anything a policy may return
    """Return ``answer`` in lists, numbers and texts, so that two can be compared."""
    if isinstance(answer, np.ndarray):
        return answer.tolist()
    if is_dataclass(answer):
        return [plainly(getattr(answer, f.name)) for f in fields(answer)]
    if isinstance(answer, msgspec.Struct):
        return plainly(msgspec.to_builtins(answer))
    if isinstance(answer, list | tuple):
        return [plainly(a) for a in cast("list[Any]", answer)]
    return answer


def check_policy(policy: Any) -> None:  # noqa: ANN401 - a third party's class
    """Assert what every policy promises, whichever room of the stack it stands in.

    Pure, deterministic, within its capacity, at ease with an empty book, and able to say in plain
    words what it does. AssertionError names the promise that is broken.
    """
    room = next((method for method in EXERCISES if hasattr(policy, method)), None)
    assert room, f"a policy has one of these methods: {', '.join(EXERCISES)}"
    exercise = EXERCISES[room]
    encoded = msgspec.json.encode(policy)
    twin: Any = msgspec.json.decode(encoded, type=cast("type[Any]", type(policy)))
    for users in (0, 40):
        at = counter(users)
        before = plainly(at)
        answers = [plainly(exercise(p, at)) for p in (policy, policy, twin)]
        assert plainly(at) == before, "a policy writes to nothing it is given"
        assert answers[0] == answers[1], "the same question has the same answer"
        assert answers[0] == answers[2], "a policy is its parameters and nothing else"
    assert msgspec.json.encode(policy) == encoded, "a policy remembers nothing"
    said = policy.describe()
    assert said, "a policy can be read back"
    for line in said:
        assert line == line.strip() != "", "in plain lines"
        assert not set(line) & set("<>{}\n\t"), "in plain words"
