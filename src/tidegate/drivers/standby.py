"""The warm standby: it follows a leader's journal, and takes over when nobody writes it any more.

Both processes look at one journal: a file on one host, or a server that both hosts reach. Who leads
is decided by the journal's own lock, and a leader that lost it without knowing is refused by the
journal's fence. The standby keeps its state up to date, so that taking over costs the last records
and the orders in flight, and not a start from a snapshot.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tidegate.adapters.chain import NoJournal
from tidegate.adapters.chained import WriterElsewhere
from tidegate.domain.errors import JournalGone
from tidegate.drivers.live import Crank, LiveJournal, Rebuilt, Recovered, identity, restored
from tidegate.engine.state import State
from tidegate.engine.step import apply
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


PAUSE_S: Final = 0.25  # between two looks at the journal

Heard = Callable[[Record, State], None]


class Opens(Protocol):
    """How the journal is opened, as a reader beside its writer and as its writer."""

    def __call__(self, *, readonly: bool) -> LiveJournal:
        """Open it; WriterElsewhere while another process writes, NoJournal when nobody has yet."""
        ...


class Led(NamedTuple):
    """A crank that has just taken over: it is started and turns."""

    crank: Crank
    journal: LiveJournal
    recovered: Recovered


class Standby:
    """One process that waits for its turn.

    Call `wait` from one thread, or `follow` and `lead` in turn. Nothing is written and no order
    leaves before it leads.

    Parameters
    ----------
    opens
        Opens the journal, e.g. ``partial(open_journal, "postgresql://...")``.
    stack
        The stack the journal was written under; another one is refused.
    hear
        Told every record that is applied, with the state after it.
    """

    def __init__(self, opens: Opens, stack: Stack, *, hear: Heard | None = None) -> None:
        self._opens, self._stack, self._hear = opens, stack, hear
        self._reader: LiveJournal | None = None
        self._warm: Rebuilt | None = None

    @property
    def head(self) -> int:
        """The last record applied here; -1 before the first."""
        return self._warm.seq if self._warm is not None else -1

    @property
    def state(self) -> State | None:
        """The state after `head`, to be read only; None before the journal was found."""
        return self._warm.state if self._warm is not None else None

    def follow(self) -> int:
        """Apply what has become durable since the last look; return how many records.

        Raise JournalGone when the journal's server is away: calling again looks again.
        """
        try:
            reader = self._reading()
        except NoJournal:
            return 0
        try:
            head = reader.refresh()
            if head < 0:
                return 0
            reader.claim(identity(self._stack))
            warm = self._warm or restored(reader, self._stack)
            self._warm = warm
            for record in reader.read(warm.seq, warm.link):
                apply(warm.state, record.event, record.effects)
                # The link is known at the end only; until then what was applied has none.
                self._warm = Rebuilt(warm.state, record.seq, b"")
                if self._hear is not None:
                    self._hear(record, warm.state)
        except JournalGone:
            self._drop()
            raise
        self._warm = Rebuilt(warm.state, head, reader.link)
        return head - warm.seq

    def lead(self, make: Callable[[LiveJournal], Crank]) -> Led | None:
        """Take over, if nobody writes the journal; return the crank that ``make`` made, started.

        What the last leader still made durable is applied first, and orders in flight are
        submitted again. None while another process leads.
        """
        try:
            journal = self._opens(readonly=False)
        except WriterElsewhere:
            return None
        try:
            self.follow()
            crank = make(journal)
            recovered = crank.start(warm=self._warm)
        except BaseException:
            journal.close()
            raise
        self._warm = None  # the state is the crank's now
        self._drop()
        return Led(crank, journal, recovered)

    def wait(
        self,
        make: Callable[[LiveJournal], Crank],
        sleep: Callable[[float], bool],
        *,
        pause_s: float = PAUSE_S,
    ) -> Led | None:
        """Follow until this process leads; return None when ``sleep`` says that it shall end.

        ``sleep`` waits so many seconds and returns whether to end, as ``threading.Event.wait``
        does. A server that is away is asked again after each pause.
        """
        while True:
            try:
                self.follow()
                led = self.lead(make)
            except JournalGone:
                led = None
            if led is not None:
                return led
            if sleep(pause_s):
                return None

    def close(self) -> None:
        """Stop following."""
        self._drop()

    def _reading(self) -> LiveJournal:
        if self._reader is None:
            self._reader = self._opens(readonly=True)
        return self._reader

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
