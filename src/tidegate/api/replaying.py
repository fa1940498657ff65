"""The replay room: recordings, replays of one under two stacks, and what each looked like."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from tidegate.api.answers import Answer
from tidegate.api.asks import Name


ReplayName: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


class RecordingNow(Answer, frozen=True, kw_only=True):
    """One recording that may be replayed."""

    name: str  # its path below the folder of recordings
    venue: str
    digest: str
    accounts: int
    events: int
    begin: int
    end: int


class RecordingRefused(Answer, frozen=True, kw_only=True):
    """A folder that looks like a recording, and what is wrong with it."""

    name: str
    error: str


class Shelf(Answer, frozen=True, kw_only=True):
    """What may be replayed, and under what."""

    recordings: list[RecordingNow]
    stacks: list[str]
    refused: list[RecordingRefused] = msgspec.field(default_factory=list[RecordingRefused])


class ReplayAsk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recording to replay, under one stack or two; stacks are those of the shelf."""

    recording: Annotated[str, Meta(min_length=1, max_length=256)]
    stacks: Annotated[list[Name], Meta(min_length=1, max_length=2)]


class ReplayBegun(Answer, frozen=True, kw_only=True):
    """Where the replay is found."""

    id: str


class VerdictRow(Answer, frozen=True, kw_only=True):
    """One line of the verdict."""

    key: str
    label: str
    unit: str
    better: Literal["less", "more", ""]
    values: dict[str, float | int | None]  # by stack


class ReplayNow(Answer, frozen=True, kw_only=True):
    """One replay; while it waits for its turn it is running, and has not come far."""

    id: str
    recording: str
    digest: str  # of the recording
    stacks: list[str]
    state: Literal["running", "done", "failed"]
    progress: float
    frames: int  # rows of the longer stack so far
    begin: int
    end: int
    numeraire: str
    detail: str = ""  # why it failed
    # Empty until it is done:
    verdict: list[VerdictRow] = msgspec.field(default_factory=list[VerdictRow])
    asked_at: int = 0


class Frames(Answer, frozen=True, kw_only=True):
    """Rows of one stack as columns, oldest first; Money in units of the numeraire."""

    ts: list[int]
    marks: dict[str, list[float | None]]
    rung: list[int]
    branching: list[float]
    liquidatable: list[int]
    bankrupt: list[int]
    fund: list[float]
    forced: list[float]  # at opening prices, since the row before
    in_flight: list[int]
    bad_debt: list[float]  # from the beginning
    deleveraged: list[float]  # at opening prices, from the beginning
