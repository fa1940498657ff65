"""Numbers at a glance: amounts, shares and durations, rounded to what a reader can use."""

from tidegate.domain.units import PPM


def amount(money: float, unit: str = "") -> str:
    """Return Money in numeraire units with as many digits as a reader compares."""
    value = money / PPM
    size = abs(value)
    if size >= 999_500_000:
        text = f"{value / 1e9:,.2f} bn"
    elif size >= 999_500:
        text = f"{value / 1e6:,.2f} M"
    elif size >= 10_000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.2f}" if size else "0"
    return f"{text} {unit}" if unit else text


def brief(money: float) -> str:
    """Return Money for a tick of an axis: no digit that says nothing."""
    value = money / PPM
    for size, unit in ((1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share (1 is the whole) as a percentage."""
    return f"{100 * share:,.{digits}f} %"


def duration(seconds: float) -> str:
    """Return a length of time in the two largest units that say it."""
    if seconds <= 0:
        return "0 s"
    if seconds < 120:
        return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:,.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
