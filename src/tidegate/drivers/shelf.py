"""The stacks that come with the package, and those of files: found by name or by path."""

from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path

from tidegate.domain.errors import ConfigInvalid
from tidegate.safeguards.stack import SafeguardStack


def shipped() -> list[str]:
    """Return the names of the stacks that come with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in files("tidegate.stacks").iterdir()
        if entry.name.endswith(".toml")
    )


def load_stack(wanted: str) -> SafeguardStack:
    """Read a stack file, or one that comes with the package where no such file is there."""
    path = Path(wanted)
    if path.exists():
        return SafeguardStack.load(path)
    name, known = wanted.removesuffix(".toml"), shipped()  # a path is never taken for a name
    if name not in known:
        close = get_close_matches(path.stem, known, n=1)
        raise ConfigInvalid(
            where="--stack",
            what=f"must be a file or one of {', '.join(known)}",
            found=repr(wanted),
            hint=f"did you mean {close[0]}?" if close else None,
        )
    return load_shipped(name)


def load_shipped(name: str) -> SafeguardStack:
    """Read a stack that comes with the package, one of `shipped`."""
    with as_file(files("tidegate.stacks") / f"{name}.toml") as file:
        return SafeguardStack.load(file)
