"""Find stacks by file or by the name of one that comes with the package, and bind them."""

from collections.abc import Sequence
from pathlib import Path

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.venue import Venue
from tidegate.drivers.shelf import load_stack, shipped
from tidegate.safeguards.stack import Stack, decode_toml


def bind_stack(wanted: str, venue: Venue) -> Stack:
    """Read a stack and bind it; what does not fit the venue is said with the stack's name."""
    declared = load_stack(wanted)
    try:
        return Stack.bind(declared, venue)
    except ConfigInvalid as e:
        raise ConfigInvalid(
            where=f"{Path(wanted).name}: {e.where}", what=e.what, found=e.found, hint=e.hint
        ) from e


def bind_stacks(wanted: Sequence[str], venue: Venue) -> list[Stack]:
    """Return the stacks bound to ``venue``; their names must differ, for tables key by them."""
    stacks = [bind_stack(each, venue) for each in wanted]
    names = [stack.name for stack in stacks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigInvalid(
                where="--stack",
                what="the names inside the files must differ",
                found=f"two named {name!r}",
                hint="change `name` in one of the files",
            )
    return stacks


def load_venue_file(path: Path) -> Venue:
    """Read a venue from a venue file or from the folder of a recording."""
    if path.is_dir():
        from tidegate.drivers.recording import load_venue  # noqa: PLC0415 - it brings pyarrow

        return load_venue(path)
    return decode_toml(path, Venue)


__all__ = ["bind_stack", "bind_stacks", "load_stack", "load_venue_file", "shipped"]
