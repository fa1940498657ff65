"""Words that name a crowd: who they become, what they refuse, and that they act in a stress."""

import pytest

from stress_books import positions
from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.agents.crowd import KINDS, crowd_of
from tidegate.lab.stress import plan_of, stressed
from tidegate.lab.stress.kept import Kept
from tidegate.lab.tables import read_book


WORLD = "v:fall=0.2,noise=100%,steps=6"


@pytest.fixture(scope="module")
def book():
    return read_book(positions())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_population_that_one_path_can_have(kind, book):
    symbols = book.opening.symbols
    (one,) = crowd_of([kind], symbols)
    (again,) = crowd_of([kind], symbols)
    assert one.name == again.name == kind
    assert one is not again


def test_what_is_said_is_what_they_are(book):
    symbols = book.opening.symbols
    (one,) = crowd_of([f"trend:count=12,capital=500,leverage=3,instrument={symbols[-1]}"], symbols)
    assert (one.count, one.capital, one.leverage) == (12, 500_000_000, 3.0)
    assert one.instrument == len(symbols) - 1


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("trent", "did you mean trend"),
        ("trend:counts=3", "did you mean count"),
        ("trend:instrument=NOPE", "must be one of"),
        ("trend:count=many", "must be a whole number"),
    ],
)
def test_what_no_crowd_is_is_refused_with_a_way_out(spec, what, book):
    with pytest.raises(ConfigInvalid) as refused:
        crowd_of([spec], book.opening.symbols)
    assert what in str(refused.value)


def test_the_same_words_twice_would_draw_the_same_lots(book):
    with pytest.raises(ConfigInvalid, match="must not be said twice"):
        crowd_of(["makers", "makers"], book.opening.symbols)


def test_a_crowd_acts_in_every_path_and_is_part_of_what_a_path_is(book, tmp_path):
    crowd = ("trend:count=200,capital=20000", "makers:count=20")
    alone = plan_of(book, worlds=[WORLD], stacks=["bare"], paths=2, seed=3)
    among = plan_of(book, worlds=[WORLD], stacks=["bare"], paths=2, seed=3, agents=crowd)
    calm, busy = (stressed(plan, questions=False).studies[0] for plan in (alone, among))
    assert [o.digest for o in calm.outcomes["bare"]] != [o.digest for o in busy.outcomes["bare"]]
    again = stressed(among, questions=False).studies[0]
    assert again.outcomes == busy.outcomes
    kept = Kept(tmp_path)
    kept.put(among.pieces()[0], busy.outcomes["bare"][0])
    assert kept.get(alone.pieces()[0]) is None
    assert kept.get(among.pieces()[0]) == busy.outcomes["bare"][0]
