"""A stream of frames that survives its connections: after a break it goes on where it was."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tidegate.api.answers import Frame
from tidegate.client.calls import addresses_of


PAUSE: Final = 0.5  # seconds before a broken connection is made anew, doubled up to ...
PAUSE_MAX: Final = 10.0
FRAME_MAX: Final = 64 * 2**20
HOPELESS: Final = frozenset({400, 401, 403, 404, 422})

_DECODER: Final = msgspec.json.Decoder(Frame)


async def follow(
    address: str, token: str, topics: Sequence[str], *, after: int | None = None
) -> AsyncGenerator[Frame]:
    """Yield frames of ``topics`` in order, from the one after record ``after`` on; forever.

    None begins with what comes next. A frame of a record is yielded once: connections that break,
    leaders that change and clients that were too slow are resumed after the last record that was
    seen whole. A frame that shows a state and no record is yielded as often as it comes.
    ``address`` may name several processes of one service, with commas between them.
    Raise InvalidStatus where the key is refused, which trying again would not change.
    """
    bases = itertools.cycle(one.replace("http", "ws", 1) for one in addresses_of(address))
    several, base = len(addresses_of(address)) > 1, next(bases)
    seen, pause = after, PAUSE
    done: dict[str, int] = {}  # the last record of each topic that was yielded
    while True:
        query: dict[str, str | int] = {"topics": ",".join(topics)}
        if seen is not None:
            query["after"] = seen
        try:
            async with connect(
                f"{base}/v1/stream?{urlencode(query)}",
                additional_headers={"Authorization": f"Bearer {token}"},
                max_size=FRAME_MAX,
            ) as socket:
                async for message in socket:
                    frame = _DECODER.decode(message)
                    pause = PAUSE
                    if frame.topic not in topics:
                        continue
                    if frame.seq < 0:  # a state: there is no place to resume from
                        yield frame
                        continue
                    if frame.seq <= done.get(frame.topic, -1):
                        continue
                    yield frame
                    done[frame.topic] = frame.seq
                    # A record may make several frames: only those before it are surely complete.
                    seen = max(seen if seen is not None else -1, frame.seq - 1)
        except InvalidStatus as error:
            if error.response.status_code in HOPELESS:
                raise
        except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
            pass
        base = next(bases)
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX if not several else PAUSE)
