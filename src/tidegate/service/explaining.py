"""Why an account was touched, told from the journal, as far as a service has the patience."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tidegate.domain.errors import AskInvalid
from tidegate.engine.explain import told
from tidegate.engine.trail import Trail
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


RECORDS_MAX: Final = 1_000_000


def explained(
    past: Callable[[int], Iterator[Record]],
    account: int,
    seq: int,
    head: int,
    stack: Stack,
    names: Sequence[str],
    *,
    most: int = RECORDS_MAX,
) -> list[str]:
    """Return the lines of `engine.explain.explain`, walking the journal up to record ``seq``.

    ``head`` is the last record there is. Raise AskInvalid where that would be more than ``most``
    records: the command line has the patience that a service has not.
    """
    if min(seq, head) >= most:
        raise AskInvalid(
            where="seq",
            what=f"must be below {most:,}: a service reads no more records for one answer",
            found=f"{min(seq, head):,}",
            hint="`tidegate explain JOURNAL ACCOUNT@SEQ` walks any journal",
        )
    return told(Trail.walk(past(-1), account, min(seq, head)), seq, stack, names)
