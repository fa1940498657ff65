"""API keys: what the file holds, whom a token lets in, and how keys are made and ended."""

import json
import os
import re
import stat
import threading

import pytest

from tidegate.adapters import whole
from tidegate.cli.main import run
from tidegate.domain.errors import ConfigInvalid
from tidegate.service import auth
from tidegate.service.auth import KeyRing, Keys, new_key, read_keys, rotated, scrubbed, write_keys
from tidegate.service.tickets import OPEN_MAX, Tickets


NOW = 1_900_000_000.0


class Hands:
    """A clock that is set by hand."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def made(tmp_path, *names, roles=("feed",), **more):
    """Return a key ring over one key a name, their tokens and its two clocks."""
    pairs = [new_key(name, roles, now=NOW, **more) for name in names]
    path = tmp_path / "keys.json"
    write_keys(path, Keys(keys=tuple(key for key, _ in pairs)))
    wall, steady = Hands(NOW), Hands(0.0)
    ring = KeyRing(path, wall=wall, steady=steady)
    return ring, [token.reveal() for _, token in pairs], wall, steady


def test_a_token_lets_its_key_in_and_nothing_else_does(tmp_path):
    ring, (one, two), _, _ = made(tmp_path, "one", "two")
    assert ring.identify(one).name == "one"
    assert ring.identify(two).name == "two"
    head, secret = one[:16], one[16:]
    flipped = head + ("A" if secret[0] != "A" else "B") + secret[1:]
    crossed = two[:16] + secret
    unknown = "tg_" + "0" * 12 + "_" + secret
    for wrong in ["", "tg_", secret, one + "=", one + "\n", " " + one, one.upper()]:
        assert ring.identify(wrong) is None
    for wrong in [flipped, crossed, unknown, "tg_\u0660" + one[4:]]:
        assert ring.identify(wrong) is None


def test_the_file_holds_no_secret_and_is_its_owner_s_alone(tmp_path):
    _, (token,), _, _ = made(tmp_path, "one")
    path = tmp_path / "keys.json"
    text = path.read_text(encoding="utf-8")
    assert token.split("_", 2)[2] not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigInvalid, match="chmod 600"):
        read_keys(path)


def test_a_token_prints_as_its_id():
    key, token = new_key("one", ["feed"], now=NOW)
    for shown in [repr(token), str(token), f"{token}", repr((token,)), f"{[token]}"]:
        assert token.secret not in shown
        assert key.id in shown
    said = f"Authorization: Bearer {token.reveal()} and {token.reveal()}!"
    assert scrubbed(said) == f"Authorization: Bearer tg_{key.id}_*** and tg_{key.id}_***!"


@pytest.mark.parametrize(("at", "good"), [(-1, True), (0, False), (1, False)])
def test_a_key_ends_when_it_expires(tmp_path, at, good):
    ring, (token,), wall, _ = made(tmp_path, "one", expires=NOW + 60)
    wall.at = NOW + 60 + at
    assert (ring.identify(token) is not None) == good


@pytest.mark.parametrize("role", auth.ROLES)
def test_whoever_has_a_role_may_do_that_and_view(role):
    who = auth.Identity("x", "x", (role,))
    assert [r for r in auth.ROLES if who.may(r)] == (
        ["viewer"] if role == "viewer" else ["viewer", role]
    )


def test_rotation_overlaps_with_two_tokens_at_most(tmp_path):
    ring, (first,), wall, _ = made(tmp_path, "one", roles=("keeper",), account="k1")
    path = tmp_path / "keys.json"
    keys, second = rotated(read_keys(path), "one", now=NOW + 10, overlap=100)
    write_keys(path, keys)
    ring.reload()
    assert ring.identify(first).account == ring.identify(second.reveal()).account == "k1"
    keys, third = rotated(read_keys(path), "one", now=NOW + 20, overlap=100)
    write_keys(path, keys)
    ring.reload()
    assert ring.identify(first) is None, "a third token ends the first"
    assert ring.identify(second.reveal()) is not None
    wall.at = NOW + 120
    assert ring.identify(second.reveal()) is None, "the overlap is over"
    assert ring.identify(third.reveal()).roles == ("keeper",)


def test_rotation_never_lengthens_a_life():
    key, _ = new_key("one", ["feed"], now=NOW, expires=NOW + 5)
    keys, _ = rotated(Keys(keys=(key,)), "one", now=NOW, overlap=100)
    assert keys.keys[0].expires == int(NOW + 5)


def test_a_changed_file_is_noticed_within_a_second(tmp_path):
    ring, (token,), _, steady = made(tmp_path, "one")
    path = tmp_path / "keys.json"
    keys, gone = auth.revoked(read_keys(path), "one", now=NOW)
    assert [k.name for k in gone] == ["one"]
    write_keys(path, keys)
    assert ring.identify(token) is not None, "not looked at yet"
    steady.at += auth.LOOK_EVERY_S
    assert ring.identify(token) is None


def test_a_file_that_breaks_keeps_the_keys_and_tells_once(tmp_path):
    heard = []
    key, token = new_key("one", ["feed"], now=NOW)
    path = tmp_path / "keys.json"
    write_keys(path, Keys(keys=(key,)))
    steady = Hands(0.0)
    ring = KeyRing(path, wall=Hands(NOW), steady=steady, troubled=heard.append)
    path.write_text("{", encoding="utf-8")
    for _ in range(5):
        steady.at += 10
        assert ring.identify(token.reveal()) is not None
    assert len(heard) == 1
    path.unlink()
    steady.at += 10
    assert ring.identify(token.reveal()) is not None
    assert len(heard) == 2
    assert token.secret not in "".join(heard)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version": 2}',
        b'{"keys": [{"id": "1"}]}',
        b'{"keys": [], "more": 1}',
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, broken):
    path = tmp_path / "keys.json"
    path.touch(0o600)
    path.write_bytes(broken)
    with pytest.raises(ConfigInvalid, match=r"keys\.json"):
        read_keys(path)


def test_two_keys_of_one_id_are_refused(tmp_path):
    key, _ = new_key("one", ["feed"], now=NOW)
    write_keys(tmp_path / "keys.json", Keys(keys=(key, key)))
    with pytest.raises(ConfigInvalid, match="ids must differ"):
        read_keys(tmp_path / "keys.json")


def test_a_ticket_is_good_once_and_for_half_a_minute(tmp_path):
    ring, (token,), _, steady = made(tmp_path, "one")
    tickets = Tickets(ring, steady=steady)
    who = ring.identify(token)
    ticket = tickets.issue(who)
    assert tickets.redeem("x" + ticket[1:]) is None
    assert tickets.redeem("\ud800") is None
    assert tickets.redeem(ticket) == who
    assert tickets.redeem(ticket) is None, "used"
    late = tickets.issue(who)
    steady.at += 30.0
    assert tickets.redeem(late) is None, "too old"
    assert ticket not in repr(tickets)


def test_a_ticket_ends_with_its_key(tmp_path):
    ring, (token,), _, steady = made(tmp_path, "one")
    tickets = Tickets(ring, steady=steady)
    ticket = tickets.issue(ring.identify(token))
    path = tmp_path / "keys.json"
    write_keys(path, auth.revoked(read_keys(path), "one", now=NOW)[0])
    ring.reload()
    assert tickets.redeem(ticket) is None


def test_a_key_that_asks_for_many_tickets_loses_its_oldest(tmp_path):
    ring, (one, two), _, steady = made(tmp_path, "one", "two")
    tickets = Tickets(ring, steady=steady)
    other = tickets.issue(ring.identify(two))
    mine = [tickets.issue(ring.identify(one)) for _ in range(OPEN_MAX + 1)]
    assert tickets.redeem(mine[0]) is None
    assert all(tickets.redeem(t) for t in [*mine[1:], other])


# The command.


@pytest.fixture
def call(tmp_path, capsys):
    """Return a function that runs `tidegate keys ...` and returns (code, stdout, stderr)."""

    def calling(*arguments):
        code = run(["keys", *arguments, "--keys", str(tmp_path / "keys.json")])
        return (code, *capsys.readouterr())

    return calling


def test_the_token_is_printed_once_on_stdout_alone(call, tmp_path):
    code, out, err = call("add", "feed-1", "--role", "feed", "--expires", "90d")
    assert code == 0
    token = out.strip()
    assert re.fullmatch(r"tg_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)
    secret = token.split("_", 2)[2]
    assert secret not in err
    path = tmp_path / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing(path).identify(token).roles == ("feed",)
    for more in (["list"], ["list", "--json"], ["rotate", "feed-1"], ["revoke", "feed-1"]):
        code, out, err = call(*more)
        assert code == 0
        assert secret not in out + err
    assert KeyRing(path).identify(token) is None


def test_list_tells_states(call):
    call("add", "a", "--role", "viewer")
    call("add", "b", "--role", "keeper", "--account", "k1")
    call("revoke", "a")
    rows = json.loads(call("list", "--json")[1])["keys"]
    assert [(r["name"], r["state"], r["account"]) for r in rows] == [
        ("a", "revoked", None),
        ("b", "good", "k1"),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "a b", "--role", "feed"], "letters, digits"),
        (["add", "one", "--role", "feed"], "which has a live key"),
        (["add", "x", "--role", "king"], "not one of"),
        (["add", "x", "--role", "feed", "--account", "k"], "--role keeper"),
        (["add", "x", "--role", "feed", "--expires", "soon"], "no span of time"),
        (["rotate", "nobody"], "known: one"),
        (["revoke", "nobody"], "known: one"),
    ],
)
def test_wrong_usage_changes_nothing_and_says_how(call, tmp_path, arguments, says):
    call("add", "one", "--role", "feed")
    before = (tmp_path / "keys.json").read_bytes()
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert (tmp_path / "keys.json").read_bytes() == before


def test_keys_that_are_made_at_once_are_all_kept(tmp_path):
    path = tmp_path / "keys.json"
    from tidegate.cli.keys import _changing  # noqa: PLC0415 - what the command does

    def make(n: int) -> None:
        key, _ = new_key(f"k{n}", ["feed"], now=NOW)
        with _changing(path, new=True) as held:
            held[0] = auth.added(held[0], key)

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {k.name for k in read_keys(path).keys} == {f"k{n}" for n in range(8)}


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path, monkeypatch):
    key, _ = new_key("one", ["feed"], now=NOW)
    path = tmp_path / "keys.json"
    write_keys(path, Keys(keys=(key,)))
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(whole.os, "fsync", full)
    with pytest.raises(ConfigInvalid, match="No space left"):
        write_keys(path, Keys())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["keys.json"]
