"""Run every stack over one recording: progress on stderr, the calm twin, the proof of sameness."""

from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import msgspec

from tidegate.cli.say import progress, words
from tidegate.domain.effects import Decision
from tidegate.domain.errors import ReplayDiverged
from tidegate.domain.events import Input
from tidegate.drivers.recording import Recording
from tidegate.drivers.replay import Observer, Run, replay
from tidegate.engine.state import State
from tidegate.ports import Journal
from tidegate.safeguards.stack import Stack


JournalFor = Callable[[Stack], AbstractContextManager[Journal | None]]


@dataclass(slots=True)
class Fingerprints:
    """One short hash of every event and its effects, to find where two runs part."""

    marks: "array[int]" = field(default_factory=lambda: array("Q"))

    def observe(
        self,
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        """Take the fingerprint of one step."""
        del seq, state, impact_ppm
        digest = blake2b(msgspec.msgpack.encode((event, effects)), digest_size=8)
        self.marks.append(int.from_bytes(digest.digest(), "little"))

    def must_equal(self, other: "Fingerprints", name: str) -> None:
        """Raise ReplayDiverged, naming the first event at which two runs part."""
        for seq, (mine, theirs) in enumerate(zip(self.marks, other.marks, strict=False)):
            if mine != theirs:
                msg = f"{name}: the second run decided otherwise at seq {seq:,}"
                raise ReplayDiverged(msg)
        if len(self.marks) != len(other.marks):
            msg = f"{name}: {len(self.marks):,} events the first time, {len(other.marks):,} now"
            raise ReplayDiverged(msg)


@dataclass(slots=True)
class Session:
    """What was replayed so far; after an interruption it holds the runs that are complete."""

    recording: Recording
    runs: list[Run] = field(default_factory=list[Run])

    def take(
        self,
        stack: Stack,
        *,
        shock: bool,
        verify: bool,
        journal: AbstractContextManager[Journal | None] | None = None,
        observers: Sequence[Observer] = (),
    ) -> Run:
        """Replay one stack, and again without impact (``shock``) and unchanged (``verify``)."""
        prints = Fingerprints()
        heard = [prints.observe, *observers] if verify else list(observers)
        with journal or nullcontext() as book:
            run = self._once(stack, stack.name, observers=heard, journal=book)
        if shock:
            calm = self._once(stack, f"{stack.name}, shock alone", impact=False)
            run = replace(run, verdict=run.verdict.with_shock(calm.verdict))
        if verify:
            again = Fingerprints()
            second = self._once(stack, f"{stack.name}, verified", observers=[again.observe])
            prints.must_equal(again, stack.name)
            if second.digest != run.digest:
                msg = f"{stack.name}: state {run.digest} the first time, {second.digest} now"
                raise ReplayDiverged(msg)
            words(f"verified: {stack.name} gave the same {run.events:,} records and state twice")
        self.runs.append(run)
        return run

    def _once(
        self,
        stack: Stack,
        label: str,
        *,
        impact: bool = True,
        observers: Sequence[Observer] = (),
        journal: Journal | None = None,
    ) -> Run:
        with progress(label, self.recording.n_events) as tick:
            return replay(
                self.recording,
                stack,
                impact=impact,
                observers=observers,
                journal=journal,
                on_progress=tick,
            )
