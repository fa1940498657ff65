"""A governed venue for tests: people with keys, bodies they sign, and an engine that is told."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from desk import flat, perp, stack_of, venue_of
from desk import rules as margins
from tidegate.adapters.advising import Advising
from tidegate.adapters.memory import MemoryJournal
from tidegate.domain.units import SECOND, Nanos
from tidegate.drivers.live import Crank, identity
from tidegate.ports import Receipt
from tidegate.safeguards.governance import Governance as Notice
from tidegate.service.acts import (
    Activate,
    Approve,
    Confirm,
    Override,
    Propose,
    Withdraw,
    attested,
)
from tidegate.service.desk import Desk
from tidegate.service.governance import Governance
from tidegate.service.overrides import Overrides
from tidegate.service.proposals import Proposal
from tidegate.service.rules import Change, Person, Rules
from tidegate.service.runner import Busy
from tidegate.service.signing import canonical, digest_of, public_hex


MM, IM, DUST = "maintenance.PERP.0", "initial.PERP.0", "dust.PERP"
LOCK = 3_600
FOUND = digest_of(b"what a shadow run found")
VENUE = venue_of(perp(), perp("OTHER"))
STACK = stack_of(VENUE, margin=margins(flat()))  # 10 % initial, 5 % maintenance


def noticed(seconds):
    """Return the same venue under a stack that asks for notice."""
    return stack_of(VENUE, margin=margins(flat()), governance=Notice(notice_ns=seconds * SECOND))


@cache
def key_of(name):
    return Ed25519PrivateKey.from_private_bytes(digest_of(name.encode()).encode()[:32])


def person(name):
    return Person(name=name, key=public_hex(key_of(name)))


def rules(threshold=2, names=("ann", "bob", "cyd"), lock=LOCK, operators=("ola", "pia"), **more):
    return Rules(
        threshold=threshold,
        lock_seconds=lock,
        governors=tuple(map(person, names)),
        operators=tuple(map(person, operators)),
        **more,
    )


def signed(act, who, ts=0, key=None):
    return attested(act, who, key_of(key or who).sign(canonical(act)), ts)


class Writer:
    """Writes the bodies of one stack's journal."""

    def __init__(self, stack=STACK):
        self.ours = {"venue": stack.venue.name, "stack": identity(stack)}

    def propose(self, name, *changes, after=-1, expires=2**60, **more):
        made = tuple(Change(name=n, before=b, value=v) for n, b, v in changes)
        return Propose(
            **self.ours, after=after, expires=expires, proposal=name, changes=made, **more
        )

    def approve(self, of, *, after=-1, expires=2**60, shadow=FOUND):
        name, digest = _named(of)
        return Approve(
            **self.ours,
            after=after,
            expires=expires,
            proposal=name,
            digest=digest,
            shadow=shadow,
        )

    def withdraw(self, of, *, after=-1, expires=2**60):
        name, digest = _named(of)
        return Withdraw(**self.ours, after=after, expires=expires, proposal=name, digest=digest)

    def activate(self, of, *, after=-1, expires=2**60):
        name, digest = _named(of)
        return Activate(**self.ours, after=after, expires=expires, proposal=name, digest=digest)

    def override(self, name, by, *, after=-1, expires=2**60, **more):
        return Override(**self.ours, after=after, expires=expires, override=name, by=by, **more)

    def confirm(self, of, by, *, after=-1, expires=2**60):
        return Confirm(
            **self.ours,
            after=after,
            expires=expires,
            override=of.override,
            by=by,
            digest=digest_of(canonical(of)),
        )


def _named(of):
    if isinstance(of, Proposal):
        return of.id, of.digest
    return of.proposal, digest_of(canonical(of))


class Crashed(Exception):
    """The process died here."""


class Intake:
    """One request on its way through the crank; see `drivers.live.Intake`."""

    def __init__(self, engine, asks, receipt):
        self.engine, self.asks, self.receipt = engine, asks, receipt

    def events(self):
        for ask in self.asks:
            self.engine.now += self.engine.drift
            yield ask.build(None, Nanos(max(self.engine.now, self.engine.state.now)))

    def whole(self, records):
        return records if records == len(self.asks) else 0

    def receipts(self, records):
        return [self.receipt._replace(first=records[0].seq, last=records[-1].seq)]


class Engine:
    """A crank with what the desk asks of the runner; it can die before or after a commit."""

    def __init__(self, stack=STACK, journal=None, venue=None):
        self.stack, self.journal = stack, journal or MemoryJournal()
        self.crank = Crank(self.journal, stack, venue or Advising())
        self.now = 1_000 * SECOND
        self.crash = ""
        self.busy = 0  # how often the queue will be found full
        self.drift = 0  # nanoseconds between two events of one batch
        self.stops = 0
        self.governance, self.overrides = Governance.of(stack), Overrides.of(stack)
        self.crank.start()
        self.heard(list(self.journal.read()))
        self.desk = Desk(self, self.governance, self.overrides, lambda: self.now, self.stop)

    def stop(self):
        self.stops += 1

    def heard(self, records):
        self.governance.hear(records)
        self.overrides.hear(records)

    @property
    def state(self):
        return self.crank.state

    @property
    def head(self):
        return self.crank.head

    async def ask(self, read):
        return read(self)

    async def take(self, asks, *, source, key="", digest=""):
        held = self.journal.receipt(source, key)
        if held is not None:
            return held
        if self.busy:
            self.busy -= 1
            msg = "full"
            raise Busy(msg)
        if self.crash == "before":
            raise Crashed

        intake = Intake(self, asks, Receipt(source, key, 0, 0, digest))
        records = self.crank.take(intake)
        if self.crash == "after":
            raise Crashed
        self.heard(records)
        return self.journal.receipt(source, key)

    def wait(self, seconds):
        self.now += int(seconds * SECOND)
