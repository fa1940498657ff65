"""Staking into the fund: shares of a tranche, a delay before they are paid, gains forfeited."""

from tidegate.domain.book import FUND
from tidegate.domain.effects import Decision, PeakMoved, Posted
from tidegate.domain.events import FundStaked, Unstaked, UnstakeRequested
from tidegate.domain.instrument import CASH
from tidegate.domain.payers import StakeMoved, UnstakeKept
from tidegate.domain.units import MONEY_MAX, Amount, Money, Nanos
from tidegate.engine.ledger import account_refusal, payment_refusal, rejected
from tidegate.engine.state import State
from tidegate.kernels.stake import shares_for, shares_forfeited, stake_value
from tidegate.safeguards.stack import Stack


def _tranche_refusal(stack: Stack, tranche: int) -> list[Decision]:
    tranches = stack.declaration.waterfall.tranches
    if 0 <= tranche < len(tranches) and tranches[tranche].stakes:
        return []
    return rejected("tranche_takes_no_stakes", f"tranche {tranche}")


def total_shares(state: State, stack: Stack, tranche: int) -> int:
    """Return all shares of a tranche: those of accounts, and one for each unit the venue put in."""
    own = stack.declaration.waterfall.tranches[tranche].initial
    return own + state.paying.staked(tranche)


def on_stake(state: State, event: FundStaked, stack: Stack) -> list[Decision]:
    """Move cash of an account into a tranche, for shares at its present worth."""
    a, k = event.account, event.tranche
    if refusal := account_refusal(state, a) or _tranche_refusal(stack, k):
        return refusal
    if event.amount <= 0:
        return rejected("amount_must_be_positive", f"stake of {event.amount}")
    if event.amount > stack.venue.limits.balance_max:
        return rejected("amount_exceeds_limit", f"stake of {event.amount}")
    vault, total = int(state.book.cash[FUND + k]), total_shares(state, stack, k)
    if vault > 0 and event.amount * total // vault + total > MONEY_MAX:
        # So little is left behind the old shares that new ones could not be counted.
        return rejected("amount_exceeds_limit", f"{event.amount} into a vault of {vault}")
    shares = int(shares_for(event.amount, total, vault))
    if shares == 0:
        return rejected("stake_buys_nothing", f"{event.amount} into a vault of {vault}")
    if refusal := payment_refusal(state, a, event.amount, stack):
        return refusal
    if event.amount > state.book.cash[a]:
        return rejected("below_initial_margin", f"stake of {event.amount} by account {a}")
    return [
        Posted(debit=a, credit=FUND + k, asset=CASH, amount=Amount(event.amount), reason="stake"),
        StakeMoved(account=a, tranche=k, shares=shares),
    ]


def on_unstake_request(state: State, event: UnstakeRequested, stack: Stack) -> list[Decision]:
    """Note that an account wants shares back, at no more than they are worth now.

    No shares: it no longer wants them, and loses what they gained meanwhile.
    """
    a, k = event.account, event.tranche
    if refusal := account_refusal(state, a) or _tranche_refusal(stack, k):
        return refusal
    mine = state.paying.stake(a, k)
    held = mine.shares
    vault, total = int(state.book.cash[FUND + k]), total_shares(state, stack, k)
    if event.shares < 0 or event.shares > held:
        return rejected("shares_not_held", f"{event.shares} of {held} shares of account {a}")
    effects: list[Decision] = []
    if mine.asked:
        lost = int(shares_forfeited(mine.asked, mine.value, total, vault))
        if lost:
            effects.append(StakeMoved(account=a, tranche=k, shares=-lost))
            held, total = held - lost, total - lost
    shares = min(event.shares, held)
    value = Money(int(stake_value(shares, total, vault)))
    kept = UnstakeKept(account=a, tranche=k, shares=shares, value=value, at=event.ts)
    return [*effects, kept]


def on_unstaked(state: State, event: Unstaked, stack: Stack) -> list[Decision]:
    """Pay out shares whose delay is over: what they are worth, at most what they were worth."""
    a, k = event.account, event.tranche
    if refusal := account_refusal(state, a) or _tranche_refusal(stack, k):
        return refusal
    _, shares, asked, at = state.paying.stake(a, k)
    if not shares:
        return rejected("nothing_was_asked_back", f"account {a}, tranche {k}")
    delay = stack.declaration.waterfall.tranches[k].unstake_ns
    if event.ts < at + delay:
        return rejected("unstake_delay", f"{at + delay - event.ts} ns are left")
    vault, total = int(state.book.cash[FUND + k]), total_shares(state, stack, k)
    value = min(asked, int(stake_value(shares, total, vault)))
    effects: list[Decision] = [
        StakeMoved(account=a, tranche=k, shares=-shares),
        UnstakeKept(account=a, tranche=k, shares=0, value=Money(0), at=Nanos(event.ts)),
    ]
    if value:
        # What leaves by agreement is no loss: the fund's peak falls with it.
        peak = Money(max(0, state.fund_peak - value))
        effects += [
            Posted(debit=FUND + k, credit=a, asset=CASH, amount=Amount(value), reason="unstake"),
            PeakMoved(peak=peak, at=Nanos(state.fund_peak_at)),
        ]
    return effects
