"""Who is asking: API keys with roles, hashed at rest, rotated with an overlap, revoked at once.

A token is ``tg_ID_SECRET``: the public id of its key and 32 random bytes. The key file holds a
salted hash of the secret, never the secret. The hash is a fast one on purpose: slow hashes protect
what people choose, by making each guess dear; 256 random bits cannot be guessed at any price, and
a slow hash would only let strangers burn this machine's time with tokens that are wrong.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from tidegate.adapters.whole import replace_file
from tidegate.domain.errors import ConfigInvalid


Role: TypeAlias = Literal["viewer", "feed", "keeper", "operator", "governor"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "feed", "keeper", "operator", "governor")

OVERLAP_S: Final = 86_400
LOOK_EVERY_S: Final = 1.0  # how late a change of the key file may be noticed

_TOKEN: Final = re.compile(r"tg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_CLOSE: Final = re.compile(r"tg_([0-9a-f]{12})_[A-Za-z0-9_-]+")
_NOBODY: Final = hashlib.blake2b(b"nobody", digest_size=32).hexdigest()

_Hex: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]+$")]
_Seconds: TypeAlias = Annotated[int, Meta(ge=0)]  # since the epoch, UTC


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key as the file has it. Of its token only the id and a hash are known."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$")]
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    roles: Annotated[tuple[Role, ...], Meta(min_length=1)]
    salt: Annotated[_Hex, Meta(min_length=32, max_length=32)]
    hash: Annotated[_Hex, Meta(min_length=64, max_length=64)]
    created: _Seconds
    expires: _Seconds | None = None
    revoked: _Seconds | None = None
    account: str | None = None  # a keeper that may bid for this account alone

    def live(self, now: float) -> bool:
        """Tell whether its token is good."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key file."""

    version: Literal[1] = 1
    keys: tuple[Key, ...] = ()


class Identity(NamedTuple):
    """Who is asking, for a handler: nothing secret is in it."""

    id: str
    name: str
    roles: tuple[Role, ...]
    account: str | None = None

    def may(self, role: Role) -> bool:
        """Tell whether a route of this role is open to the key; whoever has any role may view."""
        return role in self.roles or (role == "viewer" and bool(self.roles))

    @property
    def bound(self) -> bool:
        """Whether this is a keeper of one account, which sees the market and itself alone."""
        return bool(self.account) and self.roles == ("keeper",)


class Token(NamedTuple):
    """A token in the one moment in which it is known: it prints as its id."""

    id: str
    secret: str

    def reveal(self) -> str:
        """Return the token itself, to be handed to its owner and forgotten."""
        return f"tg_{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"tg_{self.id}_***"

    __str__ = __repr__


def scrubbed(text: str) -> str:
    """Return ``text`` with the secret of every token in it struck out."""
    return _CLOSE.sub(r"tg_\1_***", text)


def _hashed(secret: str, salt: str) -> str:
    key = bytes.fromhex(salt)
    return hashlib.blake2b(secret.encode("ascii"), key=key, digest_size=32).hexdigest()


def new_key(
    name: str,
    roles: Sequence[str],
    *,
    now: float,
    expires: float | None = None,
    account: str | None = None,
) -> tuple[Key, Token]:
    """Return a new key and its token; raise ConfigInvalid for a name that is none."""
    token = Token(secrets.token_hex(6), secrets.token_urlsafe(32))
    salt = secrets.token_hex(16)
    raw = {
        "id": token.id,
        "name": name,
        "roles": list(roles),
        "salt": salt,
        "hash": _hashed(token.secret, salt),
        "created": int(now),
        "expires": None if expires is None else int(expires),
        "account": account,
    }
    try:
        return msgspec.convert(raw, Key), token
    except msgspec.ValidationError as e:
        raise ConfigInvalid(
            where="key",
            what="a name has letters, digits, dots and dashes, at most 64; and a key has a role",
            found=repr(scrubbed(name)),
            hint=scrubbed(str(e)),
        ) from None


def added(keys: Keys, key: Key) -> Keys:
    """Return the keys with one more; a name that has a live key is rotated instead."""
    if any(k.name == key.name and k.live(key.created) for k in keys.keys):
        raise ConfigInvalid(
            where="key",
            what="the name must be free",
            found=f"{key.name!r}, which has a live key",
            hint=f"tidegate keys rotate {key.name}",
        )
    return msgspec.structs.replace(keys, keys=(*keys.keys, key))


def rotated(
    keys: Keys, name: str, *, now: float, overlap: float = OVERLAP_S, expires: float | None = None
) -> tuple[Keys, Token]:
    """Return the keys with a new token for ``name``; the one before stays good for ``overlap``.

    At most two tokens of a name are good at once: an older one that still overlaps is revoked.
    """
    live = [k for k in keys.keys if k.name == name and k.live(now)]
    if not live:
        raise _unknown(keys, name)
    live.sort(key=lambda k: k.created)
    last = live[-1]
    key, token = new_key(name, last.roles, now=now, expires=expires, account=last.account)
    ends = int(now + overlap)
    stays = {last.id: min(ends, last.expires) if last.expires is not None else ends}
    out: list[Key] = []
    for k in keys.keys:
        if k.id in stays:
            out.append(msgspec.structs.replace(k, expires=stays[k.id]))
        elif k in live:
            out.append(msgspec.structs.replace(k, revoked=int(now)))
        else:
            out.append(k)
    return msgspec.structs.replace(keys, keys=(*out, key)), token


def revoked(keys: Keys, which: str, *, now: float) -> tuple[Keys, list[Key]]:
    """Return the keys without the live ones of a name or an id, and which those were."""
    gone = [k for k in keys.keys if which in (k.name, k.id) and k.revoked is None]
    if not gone:
        raise _unknown(keys, which)
    out = [msgspec.structs.replace(k, revoked=int(now)) if k in gone else k for k in keys.keys]
    return msgspec.structs.replace(keys, keys=tuple(out)), gone


def _unknown(keys: Keys, which: str) -> ConfigInvalid:
    names = sorted({k.name for k in keys.keys if k.revoked is None})
    return ConfigInvalid(
        where="key",
        what="must be a key that is not revoked",
        found=repr(scrubbed(which)),
        hint=f"known: {', '.join(names[:12]) or 'none'}",
    )


def read_keys(path: Path) -> Keys:
    """Read a key file strictly; raise ConfigInvalid, also where more than its owner may read it."""
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_bytes()
    except OSError as e:
        raise ConfigInvalid(
            where=str(path),
            what="must be a key file",
            found=e.strerror or "nothing",
            hint="tidegate keys add NAME --role ROLE makes one",
        ) from None
    if mode & 0o077:
        raise ConfigInvalid(
            where=str(path),
            what="must be readable by its owner alone",
            found=f"mode {mode:03o}",
            hint=f"chmod 600 {path}",
        )
    try:
        keys = msgspec.json.decode(text, type=Keys)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigInvalid(
            where=str(path), what="must follow the schema of a key file", found=scrubbed(str(e))
        ) from None
    ids = [k.id for k in keys.keys]
    if len(set(ids)) < len(ids):
        raise ConfigInvalid(where=str(path), what="ids must differ", found="two of the same")
    return keys


def write_keys(path: Path, keys: Keys) -> None:
    """Replace a key file: whole or not at all, readable by its owner alone.

    Raise ConfigInvalid where it cannot be written; the old file is then as it was.
    """
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
    except OSError as e:
        raise ConfigInvalid(
            where=str(path), what="must be a file that can be written", found=e.strerror or str(e)
        ) from None


class KeyRing:
    """The keys of a running service; a changed file is noticed within `LOOK_EVERY_S`.

    A file that became unreadable changes nothing: the keys that were good stay good, and
    ``troubled`` is told, once. A venue must not lose its price feed to a typing mistake.

    Parameters
    ----------
    path
        The key file; it must be good at the start.
    troubled
        Told when a later version of the file is refused.
    wall, steady
        The clock that expiry is read from, and the one that decides when to look again.
    """

    def __init__(
        self,
        path: Path,
        *,
        troubled: Callable[[str], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._troubled = path, troubled
        self._wall, self._steady = wall, steady
        self._seen = self._stamp()
        self._keys = {k.id: k for k in read_keys(path).keys}
        self._looked = steady()

    def __repr__(self) -> str:
        return f"KeyRing({self._path}, {len(self._keys)} keys)"

    @property
    def all(self) -> Iterable[Key]:
        """The keys, also those that are no longer good."""
        return self._keys.values()

    def reload(self) -> bool:
        """Read the file again, as on SIGHUP; tell whether it was good."""
        self._seen, self._looked = self._stamp(), self._steady()
        try:
            self._keys = {k.id: k for k in read_keys(self._path).keys}
        except ConfigInvalid as e:
            self._troubled(str(e))
            return False
        return True

    def identify(self, token: str) -> Identity | None:
        """Return whose token this is; None for one that is wrong, expired or revoked."""
        self._look()
        # A token has exactly one spelling; `fullmatch` also refuses what a header could smuggle.
        parts = _TOKEN.fullmatch(token)
        key = self._keys.get(parts[1]) if parts else None
        salt = key.salt if key else "00" * 16
        found = _hashed(parts[2] if parts else "", salt)
        # An unknown id takes the same way as a wrong secret, and the same time.
        good = hmac.compare_digest(found, key.hash if key else _NOBODY)
        return self._identity(key) if key and good else None

    def live(self, key_id: str) -> Identity | None:
        """Return whose key this is as long as it is good: for what outlives a request."""
        self._look()
        key = self._keys.get(key_id)
        return self._identity(key) if key else None

    def _identity(self, key: Key) -> Identity | None:
        if not key.live(self._wall()):
            return None
        return Identity(key.id, key.name, key.roles, key.account)

    def _look(self) -> None:
        now = self._steady()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            if self._stamp() != self._seen:
                self.reload()

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
