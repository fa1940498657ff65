"""No liquidation leaves its account worse than it found it."""

import msgspec

from tidegate.domain.errors import ConfigInvalid


MODES = ("off", "incentives", "limits")
INSOLVENT = ("order", "deleverage")


class NeverWorse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a close may cost the account: neither its health nor its loan-to-value.

    ``limits``: no order is offered at a price that would, and no penalty is charged that would.
    ``incentives``: the second alone. ``off``: a fixed incentive and any price, whatever they do;
    a stack that wants this says so, and it is the one rule whose default is not neutral.

    Nobody without equity can be kept from becoming worse. ``insolvent`` says who takes it: "order",
    the fund, by a sale at any price the route allows; or "deleverage", the waterfall, at once.

    Source: arXiv:2212.07306; Kamino's bonus of at most 1 - LTV.
    """

    mode: str = "limits"
    insolvent: str = "order"

    def __post_init__(self) -> None:
        """Refuse modes that do not exist."""
        for name, allowed in (("mode", MODES), ("insolvent", INSOLVENT)):
            if getattr(self, name) not in allowed:
                raise ConfigInvalid(
                    where=f"never_worse.{name}",
                    what=f"must be one of {allowed}",
                    found=repr(getattr(self, name)),
                )
        if self.insolvent == "deleverage" and not self.limits:
            raise ConfigInvalid(
                where="never_worse.insolvent",
                what='"deleverage" needs mode = "limits"',
                found=f"mode = {self.mode!r}",
            )

    @property
    def incentives(self) -> bool:
        """Whether penalties are kept from making an account worse."""
        return self.mode != "off"

    @property
    def limits(self) -> bool:
        """Whether orders are."""
        return self.mode == "limits"

    @property
    def hands_over(self) -> bool:
        """Whether the insolvent go to the waterfall instead of to the market."""
        return self.insolvent == "deleverage"

    def fit(self, deleverage: str) -> None:
        """Refuse to hand the insolvent to a waterfall that closes nobody."""
        if self.hands_over and deleverage == "none":
            raise ConfigInvalid(
                where="never_worse.insolvent",
                what='"deleverage" needs a waterfall that deleverages',
                found='waterfall.deleverage = "none"',
                hint='set waterfall.deleverage to "queue" or "pro_rata"',
            )

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.incentives:
            return ["never worse: off; a close may cost more than the account's own equity"]
        said = ["never worse: a fill that makes its account worse pays no penalty"]
        if self.limits:
            who = "deleveraged" if self.hands_over else "sold for the fund"
            said.append(
                "never worse: no order is offered at a price that lowers an account's health; the "
                f"insolvent are {who}"
            )
        return said
