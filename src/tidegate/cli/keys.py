"""`tidegate keys`: make, list, rotate and revoke the API keys of a service."""

import json
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate.cli.say import words


if TYPE_CHECKING:
    from tidegate.service.auth import Keys

ROLES: Final = ("viewer", "feed", "keeper", "operator", "governor")
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Span(click.ParamType[int]):
    """A span of time such as 90d, 24h, 30m or 45s; its value is seconds."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return seconds."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if not found:
            self.fail(f"{value!r} is no span of time: write 90d, 24h, 30m or 45s", param, ctx)
        return int(found[1]) * UNITS[found[2]]


FILE: Final = click.option(
    "--keys",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("keys.json"),
    show_default=True,
    envvar="TIDEGATE_KEYS",
    help="The key file; TIDEGATE_KEYS names it too.",
)


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke the API keys of a service.

    A token is printed once, on stdout, and is never kept: the file holds a hash of it. A running
    service notices a changed file within a second.
    """


@keys.command()
@click.argument("name")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, required=True)
@click.option("--expires", type=Span(), metavar="SPAN", help="For instance 90d; never by default.")
@click.option("--account", metavar="NAME", help="The one account that a keeper bids for.")
@FILE
def add(
    name: str, roles: tuple[str, ...], expires: int | None, account: str | None, file: Path
) -> None:
    """Make a key for NAME and print its token.

    Whoever has a key may view. Beside that, a feed sends events, a keeper bids, an operator stops
    and resumes, a governor proposes and approves.
    """
    from tidegate.service import auth  # noqa: PLC0415 - msgspec

    if account is not None and "keeper" not in roles:
        msg = "--account binds a keeper: add --role keeper"
        raise click.UsageError(msg)
    now = time.time()
    wanted = [role for role in auth.ROLES if role in roles]  # in their own order, once each
    ends = None if expires is None else now + expires
    key, token = auth.new_key(name, wanted, now=now, expires=ends, account=account)
    with _changing(file, new=True) as held:
        held[0] = auth.added(held[0], key)
    words(f"{name}: key {key.id}, {', '.join(wanted)}{_until(key.expires)}")
    words("the token is on stdout, this once; the file holds only a hash of it")
    click.echo(token.reveal())


@keys.command()
@click.argument("name")
@click.option("--overlap", type=Span(), default="24h", show_default=True, metavar="SPAN")
@click.option("--expires", type=Span(), metavar="SPAN", help="Of the new token.")
@FILE
def rotate(name: str, overlap: int, expires: int | None, file: Path) -> None:
    """Make a new token for NAME; the one before stays good for the overlap.

    At most two tokens of a name are good at once.
    """
    from tidegate.service import auth  # noqa: PLC0415 - msgspec

    now = time.time()
    ends = None if expires is None else now + expires
    with _changing(file) as held:
        held[0], token = auth.rotated(held[0], name, now=now, overlap=overlap, expires=ends)
    words(f"{name}: new key {token.id}{_until(ends)}; the one before is good for {overlap:,} s")
    click.echo(token.reveal())


@keys.command()
@click.argument("which", metavar="NAME|ID")
@FILE
def revoke(which: str, file: Path) -> None:
    """End every token of a name, or the one with this id, at once."""
    from tidegate.service import auth  # noqa: PLC0415 - msgspec

    with _changing(file) as held:
        held[0], gone = auth.revoked(held[0], which, now=time.time())
    for key in gone:
        words(f"{key.name}: key {key.id} is revoked")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@FILE
def list_keys(*, as_json: bool, file: Path) -> None:
    """List the keys: who has which roles, since when and until when."""
    from tidegate.service import auth  # noqa: PLC0415 - msgspec

    now = time.time()
    held = auth.read_keys(file).keys
    states = [
        "revoked" if k.revoked is not None else "good" if k.live(now) else "expired" for k in held
    ]
    if as_json:
        shown = ("id", "name", "roles", "account", "created", "expires")
        rows = [
            {**{field: getattr(k, field) for field in shown}, "state": state}
            for k, state in zip(held, states, strict=True)
        ]
        click.echo(json.dumps({"keys": rows}, indent=2))
        return
    for k, state in zip(held, states, strict=True):
        roles = ",".join(k.roles) + (f" for {k.account}" if k.account else "")
        click.echo(f"{k.id}  {k.name:<20} {state:<8} {roles}{_until(k.expires)}")


@contextmanager
def _changing(file: Path, *, new: bool = False) -> "Generator[list[Keys]]":
    """Yield the keys in a list of one, to be replaced there; written when all went well."""
    import fcntl  # noqa: PLC0415 - only where keys change

    from tidegate.service import auth  # noqa: PLC0415 - msgspec

    if new:
        file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(f".{file.name}.lock")
    if not file.exists() and not new:
        auth.read_keys(file)  # says what is missing
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two people may change keys at once
        keys = auth.read_keys(file) if file.exists() else auth.Keys()
        box = [keys]
        yield box
        auth.write_keys(file, box[0])


def _until(expires: float | None) -> str:
    if expires is None:
        return ""
    return time.strftime(", until %Y-%m-%d %H:%M:%S UTC", time.gmtime(expires))
