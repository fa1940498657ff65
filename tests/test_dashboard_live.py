"""The dashboard before the real service: keys, stream, and every figure against the real API.

`test_dashboard` looks at everything there is to see, with a service of one replayed crash whose
clock it holds; here the engine decides, and the page has nobody's word but its own routes'.
"""

import msgspec
import pytest

from crash_world import BEGIN, feed, stack_of
from service_world import KEYS, SetClock, service_of, site_of
from test_dashboard import CHROMIUM, browser, decimals, expect, kpi, titled, visit, whole
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.domain.units import SECOND
from tidegate.service import feed_routes, pages, read_routes
from tidegate.service.runner import Engine


pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
__all__ = ["browser", "visit"]  # fixtures
SLASHED = "account 7/BTC-PERP"  # as the account of one isolated position is named


@pytest.fixture(scope="module")
def mock():
    """`visit` asks for it; here nobody is mocked."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """Yield (client, tell): a venue in trouble, and the way to let it go on."""
    journal, folder = MemoryJournal(), tmp_path_factory.mktemp("service")
    engine = Engine(journal, stack_of(), Outbox(), SetClock(BEGIN + 86_400 * SECOND))
    service = service_of(engine)
    read_routes.equip(service, lambda after: iter(list(journal.read(after))))
    engine.start()
    events = feed(900, 5)
    names = list(events[0].names)
    names[7] = SLASHED
    events[0] = msgspec.structs.replace(events[0], names=tuple(names))

    def tell(first, last):
        engine.offer(events[first:last], source="test").result(300)

    try:
        for begin in range(0, 600, 50):
            tell(begin, begin + 50)
        rows = [*read_routes.routes()]
        more = [*read_routes.socket_routes(service), *pages.routes()]
        paths = pages.open_paths()
        with site_of(
            service, folder, routes=rows, rows=feed_routes.routes, more=more, open_paths=paths
        ) as client:
            client.headers["Authorization"] = f"Bearer {KEYS['viewer']}"
            yield client, tell
    finally:
        engine.stop()


def test_the_desk_shows_what_the_real_service_answers(visit, venue):
    client, tell = venue
    page = visit(url=str(client.base_url), width=1680, allow=["401", "404"])
    page.get_by_label("Key", exact=True).fill(KEYS["viewer"])
    page.keyboard.press("Enter")
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
    _same(page, client)
    for begin in range(600, 900, 100):
        tell(begin, begin + 100)  # the stream says so
    _same(page, client)
    for name in (client.get("/v1/accounts").json()["account"][0], SLASHED):
        page.locator("#find").fill(name)
        page.locator(".vrow", has_text=name).first.click()
        drawer = page.get_by_role("dialog", name=f"Account {name}")
        account = client.get(f"/v1/accounts/{name.replace('/', '%2F')}").json()
        expect(drawer.get_by_title(f"{whole(account['equity'])} USD").first).to_be_visible()
        lines = client.get(f"/v1/explain/{name.replace('/', '%2F')}").json()["lines"]
        expect(drawer.locator(".explain li")).to_have_text(lines)
        page.keyboard.press("Escape")
    page.context.close()


def _same(page, client):
    now = client.get("/v1/venue").json()
    expect(kpi(page, "seq")).to_have_text(whole(now["seq"]))
    expect(kpi(page, "branching")).to_contain_text(decimals(now["branching"], 3))
    for name in ("liquidatable", "bankrupt", "in_flight"):
        expect(kpi(page, name).locator(".kpi-value")).to_have_text(whole(now[name]))
    for name in ("deficit", "fund", "required"):
        title = f"{whole(now[name])} USD"
        expect(kpi(page, name).locator(".kpi-value")).to_have_attribute("title", title)
    for one in client.get("/v1/instruments").json():
        row = page.locator("#instruments tbody tr", has_text=one["symbol"])
        expect(row).to_contain_text(whole(one["mark"]))
        expect(row).to_contain_text(decimals(one["branching"], 3))
    symbol = page.locator("#instruments [aria-selected=true] button").inner_text()
    profile = client.get(f"/v1/instruments/{symbol}/profile").json()
    largest = decimals(max(*profile["down"], *profile["up"]), 2)
    expect(page.locator("#cascade .when")).to_contain_text(f"largest {largest}")
    orders = client.get("/v1/orders").json()
    expect(page.locator("#orders tbody tr")).to_have_count(len(orders))
    expect(page.locator("#orders tbody")).to_contain_text(whole(orders[-1]["quantity"]))
    newest = client.get("/v1/events?limit=1").json()[0]
    expect(page.locator(f"[data-event='{newest['seq']}']")).to_contain_text(newest["what"])
    rows = client.get("/v1/accounts?limit=1").json()
    first = page.locator("#accounts [role=row][aria-rowindex='2']")
    equity = f"{titled(rows['equity'][0])} USD"
    expect(first.locator(".c-equity")).to_have_attribute("title", equity)
    for tranche in now["tranches"]:
        shown = page.locator(f"[data-tranche='{tranche['name']}'] b")
        expect(shown).to_have_attribute("title", f"{whole(tranche['balance'])} USD")
