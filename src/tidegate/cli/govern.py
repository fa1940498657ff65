"""`tidegate govern`: keys of governors, bodies signed offline, and an audit of a journal."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tidegate.cli.say import identity, show, words


if TYPE_CHECKING:
    from tidegate.service.acts import Signed
    from tidegate.service.governance_audit import Audited

FINDING: Final = 1
HOUR_NS: Final = 3_600 * 1_000_000_000
TOKEN: Final = "TIDEGATE_TOKEN"  # noqa: S105 (the name of a variable, not its value)


@click.group()
def govern() -> None:
    """Sign changes of parameters, see where they stand, and audit who signed for what."""


@govern.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What the file of governors calls you.")
def keygen(file: Path, name: str) -> None:
    """Write a new private key to FILE, for its owner alone, and print the public half.

    What is printed belongs into the file of governors.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - not for --help
        Ed25519PrivateKey,
    )

    from tidegate.service.signing import public_hex, save_key  # noqa: PLC0415 - ditto

    key = Ed25519PrivateKey.generate()
    save_key(file, key)
    click.echo(f'[[governors]]\nname = "{name}"\nkey = "{public_hex(key)}"')
    words(f"the private key is in {file}; whoever has it signs as {name}")


def _signing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of whoever signs something."""
    for option in (
        click.option(
            "--key", required=True, type=click.Path(path_type=Path), help="Your private key."
        ),
        click.option("--name", required=True, help="What the file of governors calls you."),
        click.option("--url", help="The service; without it nothing is sent."),
        click.option("--token", envvar=TOKEN, help=f"An API key; {TOKEN} names it too."),
        click.option("--hours", default=72, show_default=True, help="How long it may be taken."),
    ):
        command = option(command)
    return command


@govern.command()
@click.option("--id", "proposal", required=True, help="A name that was never used.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=BEFORE:VALUE",
    help="A change, for instance maintenance.BTC-PERP.0=10_000:12_500; repeat it for several.",
)
@click.option("--undo", default="", metavar="ID", help="Take this proposal back; needs --url.")
@click.option("--reason", default="", help="Why, for whoever is to approve.")
@click.option("--venue", default="", help="Name of the venue; --url knows it.")
@click.option("--stack", default="", help="Identity of the journal; --url knows it.")
@click.option("--after", default=-1, help="The journal's head that you have seen; --url knows it.")
@_signing
def propose(
    proposal: str,
    changes: tuple[str, ...],
    undo: str,
    reason: str,
    venue: str,
    stack: str,
    after: int,
    **how: Any,  # noqa: ANN401 - the options of `_signing`
) -> None:
    """Sign a proposal; print it, or send it with --url."""
    from tidegate.service.acts import Propose  # noqa: PLC0415 - numba
    from tidegate.service.rules import Change  # noqa: PLC0415 - ditto

    seen = _known(how, venue, stack, after)
    made = tuple(Change(name=n, before=b, value=v) for n, b, v in map(_change, changes))
    if undo:
        held = _proposal(seen, undo)
        made = tuple(
            Change(name=c["name"], before=c["value"], value=c["before"])
            for c in reversed(held["changes"])
        )
    if not made:
        raise click.UsageError("nothing is proposed: give --set or --undo")  # noqa: EM101, TRY003 - click's own way
    act = Propose(
        venue=seen["venue"],
        stack=seen["stack"],
        after=seen["head"],
        expires=time.time_ns() + how["hours"] * HOUR_NS,
        proposal=proposal,
        changes=made,
        undoes=undo,
        reason=reason,
    )
    _sign(act, "/v1/proposals", **how)


@govern.command()
@click.argument("proposal")
@click.option("--from", "status", type=click.Path(path_type=Path), help="Saved `govern status`.")
@click.option("--object", "objects", is_flag=True, help="Say no instead.")
@_signing
def approve(proposal: str, status: Path | None, *, objects: bool, **how: Any) -> None:  # noqa: ANN401 - the options of `_signing`
    """Sign that PROPOSAL, as it stands with its shadow run, shall be done; print it, or send it."""
    from tidegate.service.acts import Approve, Withdraw  # noqa: PLC0415 - numba
    from tidegate.service.signing import digest_of  # noqa: PLC0415 - ditto

    seen = json.loads(status.read_text(encoding="utf-8")) if status else _asked(how)
    held = _proposal(seen, proposal)
    digest = digest_of(held["body"].encode())  # of what is shown, not of what somebody claims
    fields: dict[str, Any] = {
        "venue": seen["venue"],
        "stack": seen["stack"],
        "after": seen["head"],
        "expires": time.time_ns() + how["hours"] * HOUR_NS,
        "proposal": proposal,
        "digest": digest,
    }
    words(f"{proposal} by {held['proposer']}: {held['reason'] or 'no reason given'}")
    for change in json.loads(held["body"])["changes"]:
        words(f"  {change['name']}: {change['before']} -> {change['value']}")
    if objects:
        _sign(Withdraw(**fields), f"/v1/proposals/{proposal}/withdraw", **how)
        return
    words(f"  shadow run: {held['shadow_words'] or held['shadow'] or 'none yet'}")
    act = Approve(**fields, shadow=held["shadow"])
    _sign(act, f"/v1/proposals/{proposal}/approvals", **how)


@govern.command()
@click.option("--url", required=True, help="The service.")
@click.option("--token", envvar=TOKEN, help=f"An API key; {TOKEN} names it too.")
def status(url: str, token: str | None) -> None:
    """Print who governs and where every proposal stands, as JSON that `approve --from` reads."""
    click.echo(json.dumps(_asked({"url": url, "token": token}), indent=2))


@govern.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--governors",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A file of governors that may have been in force; repeat it for older ones.",
)
@click.option("--stack", metavar="FILE", help="The stack; by default the one described beside it.")
@click.option("--venue", type=click.Path(path_type=Path, exists=True), help="Likewise.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def audit(
    file: Path, files: tuple[Path, ...], stack: str | None, venue: Path | None, *, as_json: bool
) -> int:
    """Verify every signature in journal FILE, and that each change of a parameter has its own.

    Exit code 1 when something is found. `tidegate journal verify` proves the rest: that the engine
    did with it what it says.
    """
    from contextlib import closing  # noqa: PLC0415 - beside what needs it

    from tidegate.adapters.journal import SqliteJournal  # noqa: PLC0415 - sqlite
    from tidegate.cli.journals import stack_of  # noqa: PLC0415 - numba
    from tidegate.service.governance_audit import audit as audited  # noqa: PLC0415 - ditto
    from tidegate.service.rules import Rules  # noqa: PLC0415 - ditto

    bound = stack_of(file, stack, venue)
    accepted = [Rules.load(path) for path in files]
    with closing(SqliteJournal(file, readonly=True)) as journal:
        identity(journal=f"{file.name} head {journal.head:,}", stack=f"{bound.name} {bound.digest}")
        seen = audited(journal.read(), bound, accepted)
    if as_json:
        click.echo(json.dumps(_facts(seen), indent=2))
    else:
        show("\n".join(_told(seen, pinned=bool(accepted))))
    return FINDING if seen.findings else 0


def _facts(seen: "Audited") -> dict[str, object]:
    return {
        "records": seen.records,
        "signatures": seen.signatures,
        "unsigned": seen.unsigned,
        "changes": seen.changes,
        "rules": [{"seq": seq, "digest": digest} for seq, digest in seen.rules],
        "proposals": {p.id: p.state for p in seen.governance.proposals.values()},
        "overrides": {o.body.override: o.state for o in seen.overrides.orders.values()},
        "ignored": [h._asdict() for h in seen.ignored],
        "findings": [f._asdict() for f in seen.findings],
    }


def _told(seen: "Audited", *, pinned: bool) -> list[str]:
    held = "as given" if pinned else "as the journal first says: give --governors to be sure"
    said = [
        f"{seen.records:,} records, {seen.signatures:,} signatures verified",
        f"{seen.changes:,} changes of parameters that somebody stands for",
        f"rules {held}" if seen.rules else "nobody governs here",
        f"{seen.unsigned:,} words of operators without keys" if seen.unsigned else "",
        f"{len(seen.ignored):,} statements were kept and do not count" if seen.ignored else "",
    ]
    said += [f"{p.id}: {p.state}" for p in seen.governance.proposals.values()]
    said += [f"FOUND record {f.seq:,}: {f.code}, {f.what}" for f in seen.findings]
    return [line for line in said if line] + ([] if seen.findings else ["nothing was found"])


def _change(text: str) -> tuple[str, int, int]:
    name, _, values = text.partition("=")
    before, _, value = values.partition(":")
    try:
        return name.strip(), int(before), int(value)
    except ValueError:
        message = f"must be NAME=BEFORE:VALUE with whole numbers, found {text!r}"
        raise click.BadParameter(message, param_hint="--set") from None


def _known(how: dict[str, Any], venue: str, stack: str, after: int) -> dict[str, Any]:
    """Return venue, stack and head: as given, or as the service says."""
    if venue and stack:
        return {"venue": venue, "stack": stack, "head": after, "proposals": []}
    if not how["url"]:
        raise click.UsageError("give --venue and --stack, or --url which knows them")  # noqa: EM101, TRY003 - click's own way
    return _asked(how)


def _proposal(seen: dict[str, Any], name: str) -> dict[str, Any]:
    for held in seen["proposals"]:
        if held["proposal"] == name:
            return held
    message = f"there is no proposal {name!r}"
    raise click.UsageError(message)


def _asked(how: dict[str, Any]) -> dict[str, Any]:
    if not how["url"]:
        raise click.UsageError("give --url, or --from with a saved status")  # noqa: EM101, TRY003 - click's own way
    return _called("GET", "/v1/proposals", how)


def _sign(act: "Signed", path: str, **how: Any) -> None:  # noqa: ANN401 - the options of `_signing`
    from tidegate.service.signing import canonical, load_key  # noqa: PLC0415 - cryptography

    body = canonical(act)
    signature = load_key(how["key"]).sign(body).hex()
    sent = {"signer": how["name"], "body": body.decode(), "signature": signature}
    if not how["url"]:
        click.echo(json.dumps(sent))
        words(f"to be sent: POST {path}")
        return
    click.echo(json.dumps(_called("POST", path, how, sent)))


def _called(
    method: str, path: str, how: dict[str, Any], body: dict[str, str] | None = None
) -> dict[str, Any]:
    import httpx  # noqa: PLC0415 - not for --help

    headers = {"Authorization": f"Bearer {how['token']}"} if how.get("token") else {}
    try:
        answer = httpx.request(
            method, how["url"].rstrip("/") + path, json=body, headers=headers, timeout=30
        )
        said = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        message = f"{how['url']}: {error}"
        raise click.ClickException(message) from error
    if answer.is_error:
        message = f"{answer.status_code} {said.get('title', '')}: {said.get('detail', '')}"
        raise click.ClickException(message)
    return said
