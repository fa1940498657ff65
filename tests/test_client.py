"""The client of the package: what it yields of a stream, and how long it asks again."""

import asyncio
import time
from contextlib import aclosing

import httpx
import msgspec
import pytest
from websockets.asyncio.server import serve

from tidegate.api.answers import Frame, Problem
from tidegate.client import Client, Refused, follow


def told(topic, seq, data=0):
    return msgspec.json.encode(Frame(topic=topic, seq=seq, ts=0, data=data)).decode()


async def followed(connections, n):
    """Return the first ``n`` frames of a server that ends each connection, and what was asked."""
    asked, left = [], list(connections)

    async def speak(socket):
        asked.append(socket.request.path.rpartition("topics=marks%2Cvenue")[2])
        for message in left.pop(0) if left else ():
            await socket.send(message)

    async with serve(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = []
        async with asyncio.timeout(30):
            source = follow(f"http://127.0.0.1:{port}", "key", ["marks", "venue"])
            async with aclosing(source):
                async for frame in source:
                    found.append((frame.topic, frame.seq, frame.data))
                    if len(found) == n:
                        return found, asked
    raise AssertionError


def test_states_are_yielded_each_time_and_records_once():
    """A state has no record of its own: it neither ends the other states nor moves the place."""
    first = [told("venue", -1, 1), told("venue", -1, 2), told("marks", 7)]
    again = [told("venue", -1, 3), told("marks", 7), told("marks", 8)]
    found, asked = asyncio.run(followed([first[:1], first[1:], again], 5))
    assert found == [
        ("venue", -1, 1),
        ("venue", -1, 2),
        ("marks", 7, 0),
        ("venue", -1, 3),
        ("marks", 8, 0),
    ]
    assert asked == ["", "", "&after=6"], "the record 7 may have said more than was seen of it"


def test_patience_is_not_outlasted_by_what_a_refusal_asks_for():
    def refuse(request):
        del request
        problem = Problem(type="about:blank", title="Too many", status=429)
        headers = {"Retry-After": "600"}
        return httpx.Response(429, content=msgspec.json.encode(problem), headers=headers)

    begun = time.monotonic()
    transport = httpx.MockTransport(refuse)
    with (
        Client("http://nowhere", "key", patience=5.0, transport=transport) as client,
        pytest.raises(Refused) as caught,
    ):
        client.venue()
    assert caught.value.retry_after == 600.0
    assert time.monotonic() - begun < 5.0
