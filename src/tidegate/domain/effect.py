"""What every effect is."""

import msgspec


class Effect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A decision, already taken: applying it needs no further thought."""
