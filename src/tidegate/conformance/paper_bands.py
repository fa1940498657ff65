"""The limit up-limit down table as papers restate it."""

from typing import Final

from tidegate.conformance.adapter import Rule
from tidegate.conformance.docs_bands import luld_band


PEERS: Final = ("paper",)
RULES: Final[dict[str, Rule]] = {"breakers_auctions.luld": luld_band}
