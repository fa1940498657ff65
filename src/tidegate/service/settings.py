"""How a service is run: what the command line and the settings file say, read once at the start."""

from pathlib import Path

import msgspec

from tidegate.safeguards.stack import decode_toml
from tidegate.service.alert_rules import Bounds
from tidegate.service.layers import Limits
from tidegate.service.pretrade import PreTradeSettings
from tidegate.service.streams import Settings as Streams


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings file: what an operator may tune without touching a stack."""

    queue_max: int = 20_000  # events that may wait
    batch_max: int = 1_000  # events made durable together
    snapshot_every: int = 200_000  # records
    tick_ns: int = 250_000_000  # how often the engine is told that time has passed
    silent_s: float = 30.0  # a source that says nothing for so long is silent
    limits: Limits = Limits()
    alerts: Bounds = Bounds()
    streams: Streams = Streams()
    pretrade: PreTradeSettings = PreTradeSettings()

    @classmethod
    def load(cls, path: Path) -> "Tuning":
        """Read the file; raise ConfigInvalid, naming file and key."""
        return decode_toml(path, cls)


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service finds and keeps things."""

    journal: str  # address
    state: Path  # folder: audit log, what folds keep, finished trials
    keys: Path | None = None
    governors: Path | None = None
    recordings: Path | None = None  # folder whose recordings may be replayed
    tail: Path | None = None  # folder of growing Parquet files
    nats: str = ""  # address of a server
    nats_stream: str = "tidegate"
