"""The typed client of the API: what a feed, a keeper or an operator needs, and no engine.

>>> from tidegate.client import Client
>>> with Client("http://127.0.0.1:8700", token) as venue:  # doctest: +SKIP
...     print(venue.venue().branching)
"""

from tidegate.client.calls import Client, Refused, Unreachable
from tidegate.client.stream import follow


__all__ = ["Client", "Refused", "Unreachable", "follow"]
