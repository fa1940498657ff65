"""Run vectors through the adapters and say what agrees, what does not and what is not supported."""

import importlib
import json
import math
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import tidegate.conformance
from tidegate.conformance.adapter import Rule, Shown, Unsupported, Within
from tidegate.domain.errors import VectorsInvalid


NOT_ADAPTERS: Final = frozenset({"adapter", "decimals", "suite"})
NEEDED: Final = ("id", "peer", "rule", "inputs", "expected", "tolerance")


@dataclass(frozen=True, slots=True)
class Failure:
    """A vector whose answer differs: where first, what was expected and what was found."""

    id: str
    rule: str
    where: str
    expected: str
    found: str


@dataclass(slots=True)
class Outcome:
    """What a run found."""

    total: int = 0
    passed: int = 0
    failed: list[Failure] = field(default_factory=list[Failure])
    unsupported: Counter[str] = field(default_factory=Counter[str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def supported(self) -> int:
        """How many vectors were answered, rightly or not."""
        return self.passed + len(self.failed)


def adapters() -> dict[tuple[str, str], Rule]:
    """Return every rule by (peer, rule); two adapters may not answer the same one."""
    found: dict[tuple[str, str], Rule] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(tidegate.conformance.__path__)):
        if module in NOT_ADAPTERS:
            continue
        adapter = importlib.import_module(f"tidegate.conformance.{module}")
        for peer in adapter.PEERS:
            for rule, answer in adapter.RULES.items():
                assert (peer, rule) not in found, f"two adapters answer {rule} of {peer}"
                found[peer, rule] = answer
    return found


def vectors_in(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (file name, vector) of every ``*.json`` in ``folder``; raise VectorsInvalid."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise VectorsInvalid(
            where=str(folder), what="must hold vector files (*.json)", found="none there"
        )
    seen: dict[str, str] = {}
    for path in files:
        for number, vector in enumerate(_vectors_of(path)):
            missing = [name for name in NEEDED if name not in vector]
            if missing:
                raise VectorsInvalid(
                    where=f"{path.name}: vectors[{number}]",
                    what=f"must have {', '.join(NEEDED)}",
                    found=f"no {', '.join(missing)}",
                )
            if vector["id"] in seen:
                raise VectorsInvalid(
                    where=f"{path.name}: vectors[{number}].id",
                    what="must be unique",
                    found=f"{vector['id']!r}, also in {seen[vector['id']]}",
                )
            seen[vector["id"]] = path.name
            yield path.name, _with_series(vector, folder / "data")


def _with_series(vector: dict[str, Any], data: Path) -> dict[str, Any]:
    """Return ``vector`` with the numbers of every series that its inputs name, ``NAME.csv``."""
    named = {k: v for k, v in vector["inputs"].items() if isinstance(v, str) and v[-4:] == ".csv"}
    read = {
        k: [float(line) for line in (data / v).read_text(encoding="utf-8").splitlines()[1:] if line]
        for k, v in named.items()
        if (data / v).is_file()
    }
    return {**vector, "inputs": {**vector["inputs"], **read}} if read else vector


def _vectors_of(path: Path) -> list[dict[str, Any]]:
    try:
        read: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as e:
        raise VectorsInvalid(where=path.name, what="must be JSON", found=str(e)) from e
    match read:
        case {"schema": 1, "vectors": [*vectors]}:
            return vectors
        case _:
            raise VectorsInvalid(
                where=path.name,
                what='must be {"schema": 1, "vectors": [...]}',
                found=_short(read),
            )


def run(
    vectors: Iterable[Mapping[str, Any]], on_progress: Callable[[int], None] | None = None
) -> Outcome:
    """Answer every vector; an exception of an adapter is a failure of that vector, never of all."""
    rules = adapters()
    outcome = Outcome()
    for number, vector in enumerate(vectors):
        outcome.total += 1
        rule = vector["rule"]
        answer = rules.get((vector["peer"], rule))
        try:
            if answer is None:
                why = f"no adapter of {vector['peer']} answers it"
                raise Unsupported(why)  # noqa: TRY301 - both ways to be unsupported end alike
            problem = differs(answer(vector["inputs"]), vector["expected"], vector["tolerance"])
        except Unsupported as e:
            outcome.unsupported[rule] += 1
            outcome.reasons[rule] = str(e)
            continue
        except Exception as e:  # noqa: BLE001 - whatever went wrong, this vector has failed
            problem = ("", "an answer", f"{type(e).__name__}: {e}")
        if problem is None:
            outcome.passed += 1
        else:
            outcome.failed.append(Failure(vector["id"], rule, *problem))
        if on_progress is not None:
            on_progress(number)
    return outcome


def differs(
    found: Any, expected: Any, tolerance: Mapping[str, Any], where: str = ""
) -> tuple[str, str, str] | None:
    """Return (where, expected, found) of the first difference beyond ``tolerance``, or None.

    Only what is expected is compared: an answer may say more. ``{"~": v, "abs": a}`` carries its
    own tolerance; ``tolerance["keys"]`` gives the absolute one of a named field.
    """
    if isinstance(found, Within):
        low, high = expected
        inside = low <= found.number <= high
        return None if inside else (where, _short(expected), _short(found.number))
    match expected:
        case {"~": value}:
            return differs(found, value, {"rel": 0, **expected}, where)
        case dict():
            return _differs_in_fields(found, cast("dict[str, Any]", expected), tolerance, where)
        case list():
            return _differs_in_items(found, cast("list[Any]", expected), tolerance, where)
        case _:
            same = _same(found, expected, tolerance)
            return None if same else (where, _short(expected), _short(found))


def _differs_in_fields(
    found: Any, expected: dict[str, Any], tolerance: Mapping[str, Any], where: str
) -> tuple[str, str, str] | None:
    if not isinstance(found, Mapping):
        return where, _short(expected), _short(found)
    named = tolerance.get("keys", {})
    for key, value in expected.items():
        here = f"{where}.{key}" if where else str(key)
        if key not in found:
            return here, _short(value), "nothing"
        own = {"rel": 0, "abs": named[key]} if key in named else tolerance
        problem = differs(found[key], value, own, here)
        if problem:
            return problem
    return None


def _differs_in_items(
    found: Any, expected: list[Any], tolerance: Mapping[str, Any], where: str
) -> tuple[str, str, str] | None:
    answers: list[Any] = list(found) if hasattr(found, "__len__") else []
    if isinstance(found, str) or len(answers) != len(expected):
        return where, _short(expected), _short(found)
    for n, (one, value) in enumerate(zip(answers, expected, strict=True)):
        problem = differs(one, value, tolerance, f"{where}[{n}]")
        if problem:
            return problem
    return None


def _same(found: Any, expected: Any, tolerance: Mapping[str, Any]) -> bool:
    if expected is None or isinstance(expected, bool):
        return found is expected or (isinstance(expected, bool) and found == expected)
    if isinstance(expected, str):
        try:
            expected = int(expected)
        except ValueError:
            return str(found) == expected
    if found is None or isinstance(found, bool | str):
        return False
    if isinstance(found, Shown) and isinstance(expected, int):
        found = found.cut_to(expected)
    rel, room = tolerance.get("rel", 0), tolerance.get("abs", 0)
    room = int(room) if isinstance(room, str) else room  # large ones are decimal strings
    if isinstance(expected, int) and not isinstance(found, float) and not rel:
        return abs(int(found) - expected) <= room
    if not math.isfinite(found):
        return False
    # Integers beyond 2**53 are compared as integers: a float would hide their last digits.
    gap = abs(found - expected)
    return gap <= room + rel * abs(expected)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
