"""Every number of a stack by a dotted key: read, replaced, written back as a file that loads."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import tomli_w

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM
from tidegate.lab.tunable_marks import MARKS, SCALE, Mark
from tidegate.safeguards.breaker import THRESHOLDS
from tidegate.safeguards.stack import SafeguardStack


class Parameter(NamedTuple):
    """One number that a search may change."""

    key: str
    low: int
    high: int
    now: int
    log: bool = False


def parameters(stack: SafeguardStack) -> dict[str, int]:
    """Return every whole number of the stack by its key, and `SCALE`, which is 100 % of its own.

    A key is the path through the file's tables: ``margin.instruments.BTC.penalty``. In a list of
    tables an entry is known by its name or rung, otherwise by its place from 0:
    ``breaker.steps.caution.pace``, ``margin.instruments.BTC.tiers.1.initial``.
    """
    return {SCALE: PPM, **dict(_numbers("", msgspec.to_builtins(stack)))}


def _numbers(key: str, value: object) -> Iterator[tuple[str, int]]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield key, value
    for name, part in _parts(value):
        yield from _numbers(f"{key}.{name}".removeprefix("."), part)


def _parts(value: object) -> list[tuple[str, object]]:
    """Return the named parts of a table or of a list; nothing for anything else."""
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        return [(name, part) for name, part in table.items()]
    if isinstance(value, list | tuple):
        listed = cast("Sequence[object]", value)
        return [(_label(part, k), part) for k, part in enumerate(listed)]
    return []


def _label(part: object, place: int) -> str:
    if isinstance(part, dict):
        table = cast("dict[str, object]", part)
        return str(table.get("name", table.get("rung", place)))
    return str(place)


def with_values(stack: SafeguardStack, values: Mapping[str, int]) -> SafeguardStack:
    """Return the stack with these numbers; raise ConfigInvalid where a key or the whole is refused.

    The name stays: what is tried competes with what stands under one name.
    """
    known = parameters(stack)
    for key in values:
        _refuse_unknown(key, known)
    tables = cast("dict[str, Any]", _thawed(msgspec.to_builtins(stack)))
    for key, value in values.items():
        if key != SCALE:
            _put(tables, key, value)
    if values.get(SCALE, PPM) != PPM:
        _scale(tables, values[SCALE])
    try:
        return msgspec.convert(tables, SafeguardStack)
    except msgspec.ValidationError as e:
        if isinstance(e.__cause__, ConfigInvalid):
            raise e.__cause__ from e
        raise ConfigInvalid(where="stack", what="must be valid", found=str(e)) from e


def _refuse_unknown(key: str, known: Mapping[str, int]) -> None:
    if key not in known:
        near = get_close_matches(key, known, n=1)
        raise ConfigInvalid(
            where="parameter",
            what="must name a number of the stack",
            found=repr(key),
            hint=f"did you mean {near[0]}?" if near else None,
        )


def _thawed(value: object) -> object:
    """Return the same tables and lists, all of them new and open to change."""
    if isinstance(value, dict):
        return {k: _thawed(v) for k, v in cast("dict[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_thawed(v) for v in cast("Sequence[object]", value)]
    return value


def _put(tables: dict[str, Any], key: str, value: int) -> None:
    """Set one number; ``key`` is one of `parameters`."""
    at: object = tables
    rest = key
    while True:
        # The longest name wins: symbols may contain dots.
        fits = [(name, n) for n, (name, _) in enumerate(_parts(at)) if _leads(rest, name)]
        name, n = max(fits, key=lambda each: len(each[0]))
        table = cast("dict[Any, Any]", at)
        place = name if isinstance(at, dict) else n
        if rest == name:
            table[place] = value
            return
        at, rest = table[place], rest[len(name) + 1 :]


def _leads(rest: str, name: str) -> bool:
    return rest == name or rest.startswith(f"{name}.")


def _scale(tables: dict[str, Any], scale: int) -> None:
    """Multiply every tier's rates, rounded to the nearest ppm and never above 100 %."""
    for requirement in tables["margin"]["instruments"].values():
        for tier in requirement["tiers"]:
            for rate in ("initial", "maintenance"):
                tier[rate] = min(PPM, (tier[rate] * scale + PPM // 2) // PPM)


def marked(stack: SafeguardStack) -> list[Parameter]:
    """Return the parameters that are tuned unless others are named."""
    neutral = SafeguardStack(name="neutral")
    found: list[Parameter] = []
    for key, now in parameters(stack).items():
        table = key.partition(".")[0]
        off = getattr(stack, table) == getattr(neutral, table)
        mark = mark_of(key)
        if mark is not None and not off and mark.low <= now <= mark.high:
            found.append(Parameter(key, mark.low, mark.high, now, mark.log))
    return found


def in_order(stack: SafeguardStack, values: Mapping[str, int]) -> dict[str, int]:
    """Return the values with the breaker's ladder put in order, so that few draws are refused.

    From rung to rung thresholds and margin may not fall, nor pace and bands rise: an upper rung
    that would is set to the one below it, where both are being changed or it alone is.
    """
    out = dict(values)
    known = parameters(stack)
    rungs = [step.rung for step in stack.breaker.steps]
    for name in (*THRESHOLDS, "initial_scale", "pace", "band"):
        line: int | None = None
        for key in (f"breaker.steps.{rung}.{name}" for rung in rungs):
            value = out.get(key, known[key])
            if line is not None and key in out:
                falls = name in {"pace", "band"}
                out[key] = value = min(value, line) if falls else max(value, line)
            line = value if value or name != "band" else line
    return out


def mark_of(key: str) -> Mark | None:
    """Return the first mark whose pattern fits ``key``; ``*`` in it is any one part."""
    for mark in MARKS:
        head, star, tail = mark.pattern.partition("*")
        if not star and key == mark.pattern:
            return mark
        fits = star and key.startswith(head) and key.endswith(tail)
        if fits and len(key) > len(head) + len(tail):
            return mark
    return None


def asked(stack: SafeguardStack, words: Sequence[str]) -> list[Parameter]:
    """Return the parameters that ``words`` name: KEY for a marked one, or KEY=LOW..HIGH.

    Raise ConfigInvalid for what cannot be: unknown keys, ranges upside down, and ends of a range at
    which the stack would be refused while everything else stays as it is.
    """
    if not words:
        return marked(stack)
    known = parameters(stack)
    found: list[Parameter] = []
    for word in words:
        key, given, text = word.partition("=")
        _refuse_unknown(key, known)
        mark = mark_of(key)
        low, high = _range(word, text) if given else (mark.low, mark.high) if mark else (0, 0)
        if not low < high:
            raise ConfigInvalid(
                where="--parameter",
                what="must have a range that rises: KEY=LOW..HIGH (only marked keys have one)",
                found=word,
            )
        for end in (low, high) if given else ():
            with_values(stack, {key: end})
        found.append(Parameter(key, low, high, known[key], bool(mark and mark.log and low > 0)))
    return found


def _range(word: str, text: str) -> tuple[int, int]:
    low, dots, high = text.partition("..")
    try:
        return int(low), int(high) if dots else int(low)
    except ValueError as e:
        raise ConfigInvalid(
            where="--parameter", what="must be KEY=LOW..HIGH in whole numbers", found=word
        ) from e


def write_stack(stack: SafeguardStack, path: Path, said: Sequence[str]) -> None:
    """Write the stack as a file of what differs from the neutral one, ``said`` as its comment.

    It is read back and must be the same, so a file that is there can be used.
    """
    text = "".join(f"# {line}\n" for line in said) + tomli_w.dumps(_told(stack))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert SafeguardStack.load(path).digest == stack.digest, "a stack must survive its file"


def _told(value: Any) -> Any:  # noqa: ANN401 - tables, lists and numbers of a file
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        out: dict[str, Any] = {config.tag_field: config.tag} if config.tag_field else {}
        for field in msgspec.structs.fields(value):
            part = getattr(value, field.name)
            usual = field.default
            if usual is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                usual = field.default_factory()
            if usual is msgspec.NODEFAULT or part != usual:
                out[field.encode_name] = _told(part)
        return out
    if isinstance(value, dict):
        return {k: _told(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple | list):
        return [_told(v) for v in cast("Sequence[Any]", value)]
    return value
