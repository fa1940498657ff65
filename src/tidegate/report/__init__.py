"""What people read: the metrics in words, the pictures, and the one-file report.

Nothing here decides or measures; a number that is shown was reached by `drivers.verdict`.
"""

from tidegate.report.page import Subject, write
from tidegate.report.words import unbroken, verdict_words


__all__ = ["Subject", "unbroken", "verdict_words", "write"]
