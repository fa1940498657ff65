"""Errors cross from a worker to whoever asked as what they are, with all that they say."""

import pickle

import pytest

from tidegate.domain import errors
from tidegate.lab import farm_workers


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.TidegateError)
]


def made(kind):
    if issubclass(kind, errors.Refused):
        return kind(where="a.b", what="must be so", found="otherwise", hint="say so")
    if kind is errors.WorkerLost:
        return kind(chunk=3, tries=2, code=-9)
    return kind("what went wrong")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_on_the_other_side(kind):
    error = made(kind)
    error.add_note("in a worker: line 7")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__notes__ == ["in a worker: line 7"]
    assert vars(again) == vars(error)


def test_a_workers_refusal_is_raised_as_one():
    error = made(errors.ConfigInvalid)
    with pytest.raises(errors.ConfigInvalid, match="must be so"):
        farm_workers._opened(farm_workers._packed((False, error)))


def test_an_error_that_cannot_travel_is_told_in_words():
    error = ValueError("the real reason")
    error.handle = lambda: None
    error.add_note("in a worker: line 7")
    with pytest.raises(RuntimeError, match="the real reason") as told:
        farm_workers._opened(farm_workers._packed((False, error)))
    assert told.value.__notes__ == ["in a worker: line 7", "a worker's answer must pickle"]
