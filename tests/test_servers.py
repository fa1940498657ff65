"""The servers that other tests stand on: promised ones must be there, private ones are real."""

import asyncio

import nats
import psycopg
import pytest

import servers


def test_postgres_keeps_what_was_committed(postgres_url):
    with psycopg.connect(postgres_url) as db:
        assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert db.execute("SELECT 6 * 7").fetchone() == (42,)


def test_nats_keeps_streams(nats_url):
    async def publish():
        link = await nats.connect(nats_url)
        stream = link.jetstream()
        await stream.add_stream(name="servers", subjects=["servers.>"])
        try:
            return (await stream.publish("servers.x", b"1")).seq
        finally:
            await stream.delete_stream("servers")
            await link.close()

    assert asyncio.run(publish()) == 1


@pytest.mark.parametrize(
    ("fixture", "name", "address"),
    [
        (servers.postgres_url, "TIDEGATE_TEST_POSTGRES", "postgresql://nobody@127.0.0.1:9/x"),
        (servers.nats_url, "TIDEGATE_TEST_NATS", "nats://127.0.0.1:9"),
    ],
)
def test_a_promised_server_that_is_away_is_a_failure(monkeypatch, fixture, name, address):
    """Whoever promised a server wants to know; a skip would hide that nothing was tested."""
    monkeypatch.setenv(name, address)
    with pytest.raises(pytest.fail.Exception, match=f"{name} promises a server"):
        next(fixture.__wrapped__())
