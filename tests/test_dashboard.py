"""The dashboard in a real browser: every panel against the numbers that the API gave it.

Chromium is the machine's own; where there is none these tests are skipped. `--bless` writes the
pictures of the manual anew.
"""

import io
import re
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from dashboard_mock import Mock


CHROMIUM = next((p for n in ("chromium", "chromium-browser") if (p := shutil.which(n))), None)
PICTURES = Path(__file__).parents[1] / "docs/images/dashboard"
PICTURE_BYTES_MAX = 250_000
CRASH, LATER = 31, 33  # rows of the replay: many are liquidatable; ten seconds on
ACCOUNTS = 100_000
MINUS = "\N{MINUS SIGN}"

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
expect = playwright.expect


@pytest.fixture(scope="module")
def mock():
    made = Mock().start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser():
    expect.set_options(timeout=15_000)
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield made
        made.close()


@pytest.fixture
def visit(browser, mock):
    """Open the dashboard; at the end nothing may stand in the console, and no page be wider."""
    contexts, said, allowed = [], [], []

    def opened(
        at="", *, width=1440, height=1000, scheme="dark", url="", allow=(), timed=False, **options
    ):
        allowed.extend(allow)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: said.append(m.text) if m.type in {"error", "warning"} else 0)
        page.on("pageerror", lambda error: said.append(str(error)))
        if timed:
            page.clock.install()
        page.goto((url or mock.url) + at)
        return page

    if mock is not None:
        mock.world.quiet = mock.down = False
        mock.progress = 1.0
        mock.to(CRASH)
    yield opened
    for context in contexts:
        for page in context.pages:
            assert wider(page) <= 0, "the page scrolls sideways"
        context.close()
    unforeseen = [text for text in said if not any(part in text for part in allowed)]
    assert not unforeseen


def wider(page):
    root = "document.documentElement"
    return page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")


def whole(value):
    """Return a number as the page writes it: grouped, and with a minus as wide as a digit."""
    return f"{Decimal(str(value)):,}".replace("-", MINUS)


def decimals(value, digits):
    return f"{value:,.{digits}f}".replace("-", MINUS)


def kpi(page, name):
    return page.locator(f"[data-kpi={name}]").first


def cells(row):
    return [" ".join(t.split()) for t in row.locator("td, th").all_inner_texts()]


def keep(page, name, request, **options):
    """Write a picture of the manual, when asked to."""
    if not request.config.getoption("--bless"):
        return
    from PIL import Image  # noqa: PLC0415 - only for the manual

    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")
    small = picture.quantize(256, kmeans=3, dither=Image.Dither.NONE)
    small.save(PICTURES / f"{name}.png", optimize=True)


def test_every_panel_shows_the_numbers_of_the_api(visit, mock, request):
    page = visit(width=1680, height=1180, scheme="light")
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
    _venue_is_shown(page, mock)
    mock.to(LATER)  # the stream says so, and everything follows
    expect(kpi(page, "seq")).to_have_text(whole(mock.world.now["seq"]))
    _venue_is_shown(page, mock)
    _instruments_are_shown(page, mock)
    _profile_is_shown(page, mock)
    _lists_are_shown(page, mock)
    page.wait_for_timeout(300)
    keep(page, "desk", request)


def _venue_is_shown(page, mock):
    venue = mock.world.venue()
    tile = kpi(page, "branching")
    expect(tile).to_contain_text(decimals(venue["branching"], 3))
    assert "feeds itself" in tile.inner_text()
    expect(kpi(page, "rung")).to_contain_text(f"{venue['rung']} / 4")
    expect(kpi(page, "rung")).to_contain_text("reduce only")
    expect(kpi(page, "mode")).to_have_text("armed")
    expect(kpi(page, "leader")).to_have_text("leader")
    for name in ("liquidatable", "bankrupt", "in_flight"):
        expect(kpi(page, name).locator(".kpi-value")).to_have_text(whole(venue[name]))
    for name in ("deficit", "fund", "required"):
        title = f"{whole(venue[name])} USD"
        expect(kpi(page, name).locator(".kpi-value")).to_have_attribute("title", title)
    for tranche in venue["tranches"]:
        shown = page.locator(f"[data-tranche={tranche['name']}] b")
        expect(shown).to_have_attribute("title", f"{whole(tranche['balance'])} USD")
    expect(kpi(page, "rung_reason")).to_have_text(venue["rung_reason"])
    moves = page.locator(".moves li")
    expect(moves).to_have_count(len(mock.world.moves()))
    expect(page.locator(".ladder [aria-current=step]")).to_have_text("2 reduce only")


def _instruments_are_shown(page, mock):
    for i, row in enumerate(page.locator("#instruments tbody tr").all()):
        one = mock.world.instrument(i)
        expect(row).to_contain_text(whole(one["mark"]))
        assert cells(row)[1:] == [
            whole(one["mark"]),
            decimals(one["branching"], 3),
            decimals(one["deviations"], 1),
        ]
    assert "wide" in page.locator("#instruments").inner_text()  # XPL's price is not good


def _profile_is_shown(page, mock):
    profile = mock.world.profile(0)
    said = page.locator("#cascade .when")
    largest = max(*profile["down"], *profile["up"])
    expect(said).to_contain_text(f"largest {decimals(largest, 2)}")
    expect(said).to_contain_text(f"n {decimals(profile['near'], 3)} near the mark")
    # The cross reads the numbers that the colours stand for: here the step with the largest n.
    canvas = page.locator("#cascade canvas")
    box = canvas.bounding_box()
    k = profile["down"].index(max(profile["down"]))
    tall, steps = box["height"] - 20, len(profile["down"])
    canvas.hover(position={"x": box["width"] - 30, "y": tall / 2 * (1 + (k + 0.5) / steps)})
    expect(said).to_contain_text(f"n {decimals(profile['down'][k], 3)}")
    page.mouse.move(0, 0)
    flow = mock.world.flow(0)
    assert flow["spent"][-1] > 0
    note = page.locator("#flow .note").inner_text()
    assert f"({decimals(100 * flow['spent'][-1] / flow['budget'][-1], 0)} %)" in note
    assert "BTC of bids" in page.locator("#liquidations .note").inner_text()
    page.locator("#liquidations .switch button").last.click()
    expect(page.locator("#liquidations [aria-pressed=true]")).to_have_text("summed")


def _lists_are_shown(page, mock):
    for auction in mock.world.auctions():
        row = page.locator(f"[data-auction='{auction['auction']}']")
        asking = "by bids" if auction["asking"] is None else whole(auction["asking"])
        expect(row.locator(".asking")).to_have_text(asking)
    before = page.locator(".asking").first.inner_text()
    mock.world.asking += 7
    mock.tell("auctions")
    expect(page.locator(".asking").first).not_to_have_text(before)  # it falls while one looks
    mock.world.asking -= 7
    orders = page.locator("#orders tbody tr")
    expect(orders).to_have_count(len(mock.world.orders()))
    for row, order in zip(orders.all()[:4], mock.world.orders(), strict=False):
        said = cells(row)
        assert said[1:5] == [
            order["account"],
            order["instrument"],
            whole(order["quantity"]),
            whole(order["limit"]),
        ]
    alerts = mock.world.alerts()
    expect(page.locator(".alerts li")).to_have_count(len(alerts))
    for alert in alerts:
        expect(page.locator(".alerts")).to_contain_text(alert["detail"])
    newest = mock.world.newest(mock.world.guarded["log"], None, 100)
    for logged in newest[:10]:
        line = page.locator(f"[data-event='{logged['seq']}']")
        expect(line).to_contain_text(logged["what"])
        expect(line).to_contain_text(whole(logged["seq"]))
    rows = mock.world.columns(1000)
    first = page.locator("#accounts [role=row][aria-rowindex='2']")
    expect(first).to_contain_text(rows["account"][0])
    expect(first.locator(".c-equity")).to_have_attribute(
        "title", f"{whole(rows['equity'][0])} USD".replace(".0 ", " ")
    )


def test_receipts_and_explanations_open_where_they_are(visit, mock, request):
    page = visit(height=900)
    receipt = mock.world.newest(mock.world.guarded["receipts"], None, 1)[0]
    row = page.locator(f"[data-receipt='{receipt['seq']}']")
    row.locator("button").click()
    full = page.locator(".receipt")
    expect(full).to_contain_text(f"{whole(receipt['candidates'])} could have been taken")
    winners = full.locator("tbody tr")
    expect(winners).to_have_count(len(receipt["winners"]))
    assert cells(winners.first)[1:3] == [
        receipt["winners"][0]["account"],
        whole(receipt["winners"][0]["quantity"]),
    ]
    name, told = next(
        (n, e)
        for n, e in mock.world.guarded["explained"].items()
        if any(r["seq"] == e["seq"] for r in mock.world.guarded["log"])
    )
    mock.to(next(k for k, r in enumerate(mock.world.rows) if r["seq"] > told["seq"]))
    page.get_by_label("Find in the event log").fill(str(told["seq"]))
    page.locator(f"[data-event='{told['seq']}'] .link", has_text=name).first.click()
    drawer = page.locator("dialog[open]")
    expect(drawer.locator(".explain li")).to_have_text(told["lines"])
    account = mock.world.account(name)
    for figure in ("equity", "maintenance", "cash"):
        expect(drawer.get_by_title(f"{whole(account[figure])} USD").first).to_be_visible()
    expect(drawer).to_contain_text(whole(account["positions"][0]["quantity"]))
    keep(page, "account", request)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_a_quiet_venue_says_so_in_every_panel(visit, mock):
    mock.world.quiet = True
    mock.to(0)
    page = visit(scheme="light")
    for said in (
        "No alert is open.",
        "No auctions are open.",
        "No orders are in flight.",
        "Nobody was deleveraged.",
        "Nothing has happened yet.",
        "The breaker has not moved yet.",
        "No profile yet",
        "No price yet.",
    ):
        expect(page.get_by_text(said).first).to_be_visible()


def test_a_hundred_thousand_rows_scroll_sort_and_search(visit):
    crowd = Mock(accounts=ACCOUNTS).start()
    try:
        crowd.to(CRASH)
        page = visit(url=crowd.url)
        _scrolled_sorted_and_searched(page, crowd.world.columns(ACCOUNTS))
        page.context.close()
    finally:
        crowd.stop()


def _scrolled_sorted_and_searched(page, rows):
    page.get_by_label("How many are read").select_option("100000")
    expect(page.locator(f".vtable[aria-rowcount='{ACCOUNTS + 1}']")).to_be_visible()
    # Rolled by a wheel's notch a frame: how long a frame takes, and whether the rows are right.
    took = page.evaluate("""async () => {
        const body = document.querySelector(".vbody"), took = [];
        let last = performance.now();
        for (let k = 0; k < 60; k++) {
            body.scrollTop += 96;
            await new Promise((next) => requestAnimationFrame(next));
            took.push(performance.now() - last);
            last = performance.now();
        }
        return took.sort((a, b) => a - b);
    }""")
    assert took[len(took) // 2] < 100, f"a frame took {took[len(took) // 2]:.0f} ms"
    assert page.locator(".vrow").count() < 60, "only what is in sight exists"
    page.evaluate("document.querySelector('.vbody').scrollTop = 1e9")
    last = page.locator(f"[aria-rowindex='{ACCOUNTS + 1}']")
    expect(last).to_contain_text(rows["account"][-1])
    page.get_by_role("button", name="Size USD").click()
    page.evaluate("document.querySelector('.vbody').scrollTop = 0")
    largest = rows["account"][max(range(ACCOUNTS), key=rows["notional"].__getitem__)]
    expect(page.locator("[aria-rowindex='2']").last).to_contain_text(largest)
    wanted = rows["account"][54_321]
    page.keyboard.press("/")
    page.keyboard.type(wanted.upper())
    found = sum(wanted in name for name in rows["account"])
    expect(page.locator(f".vtable[aria-rowcount='{found + 1}']")).to_be_visible()
    expect(page.locator("#accounts .unit")).to_contain_text(f"{whole(found)} of 100,000 shown")


def test_everything_is_reached_by_keyboard(visit, mock):
    page = visit()
    expect(page.locator(".log li").first).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for digit, panel in enumerate(("instruments", "rung", "fund", "cascade"), 1):
        page.keyboard.press(str(digit))
        expect(page.locator(f"#{panel}-title")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("#cascade h2")).to_have_text("Cascade profile ETH")
    assert page.url.endswith("#/desk/ETH")
    page.keyboard.press("7")
    page.locator(".vbody").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    name = mock.world.columns(3)["account"][2]
    drawer = page.get_by_role("dialog", name=f"Account {name}")
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(page.locator(".vbody")).to_be_focused()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid", "one sees where one is"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('.panel')?.id ?? ''"))
    assert {"auctions", "orders", "deleveragings", "events"} <= reached


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_both_themes_can_be_read(visit, scheme, request):
    page = visit(scheme=scheme, width=1440, height=900)
    expect(page.locator(".log li").first).to_be_visible()
    worst = page.evaluate(CONTRAST)
    assert not worst, worst
    if scheme == "dark":
        page.wait_for_timeout(300)
        keep(page, "desk-dark", request)
    other = "light" if scheme == "dark" else "dark"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == other
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()  # it was chosen, so it stays
    expect(page.locator(".log li").first).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == other
    assert not page.evaluate(CONTRAST)


# Every text in sight against what lies behind it: at least 4.5 to 1, as WCAG 2 asks (AA).
CONTRAST = """() => {
    const bright = (c) => { const [r, g, b] = c.map((v) => v / 255).map((v) =>
        v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map((v, k) =>
        Number(v) * (k < 3 && text.startsWith("color(") ? 255 : 1));
    const behind = (node) => { const layers = [];
        for (let n = node; n; n = n.parentElement) {
            const [r, g, b, a = 1] = parse(getComputedStyle(n).backgroundColor);
            if (a > 0) layers.push([r, g, b, a]);
            if (a === 1) break;
        }
        return layers.reverse().reduce((under, [r, g, b, a]) =>
            [r, g, b].map((v, k) => v * a + under[k] * (1 - a)), [255, 255, 255]); };
    const bad = [];
    for (const node of document.querySelectorAll("main *, header *")) {
        const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own || !node.checkVisibility() || node.matches("option, :disabled")) continue;
        if (node.closest(".ladder li:not([aria-current])")) continue;  // rungs not stood on
        const ink = parse(getComputedStyle(node).color).slice(0, 3);
        const [a, b] = [bright(ink), bright(behind(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) bad.push(`${node.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
    }
    return bad;
}"""


def test_a_phone_shows_everything_without_scrolling_sideways(visit, mock, request):
    mock.replays["r1"] = {"recording": "october-4000", "stacks": ["bare", "guarded"]}
    page = visit(width=360, height=760, has_touch=True, is_mobile=True)
    expect(page.locator(".log li").first).to_be_visible()
    expect(page.locator("#cascade canvas")).to_be_visible()
    assert wider(page) == 0
    outside = page.evaluate("""() => [...document.querySelectorAll(".panel, .kpi")]
        .filter((n) => n.getBoundingClientRect().right > innerWidth + 0.5).map((n) => n.id)""")
    assert outside == []
    keep(page, "phone", request)
    page.locator("#accounts .vrow").first.tap()
    expect(page.locator("dialog[open] h2").first).to_be_visible()
    page.get_by_label("Close").tap()
    page.get_by_role("link", name="Replay").tap()
    expect(page.locator("#chart-fund canvas")).to_be_visible()


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(visit):
    guarded = Mock(key="tg_viewer_key").start()
    try:
        guarded.to(CRASH)
        page = visit(url=guarded.url, allow=["401"])
        expect(page.get_by_role("dialog", name="API key")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="API key")).to_be_visible()
        page.get_by_label("Key", exact=True).fill("tg_wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("This key was not accepted.")).to_be_visible()
        assert guarded.asked == [], "nothing was answered"
        page.get_by_label("Key", exact=True).fill("tg_viewer_key")
        page.keyboard.press("Enter")
        expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
        stores = "[Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
        assert page.evaluate(stores) == [["tg_viewer_key"], [], ""]
        assert "tg_viewer_key" not in page.url
        assert not [asked for asked in guarded.asked if "tg_viewer_key" in asked]
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("dialog", name="API key")).to_be_visible()
        assert page.evaluate(stores) == [[], [], ""]
        page.context.close()
    finally:
        guarded.stop()


def test_a_lost_service_is_seen_and_found_again_where_it_was_left(visit, mock):
    page = visit(allow=["503", "WebSocket"], timed=True)
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
    expect(kpi(page, "seq")).to_have_text(whole(mock.world.now["seq"]))
    at = mock.world.now["seq"]
    mock.down = True
    mock.hang_up()
    expect(page.locator("[data-banner]")).to_contain_text("Not the leader")
    expect(page.locator(".pulse")).to_have_attribute("data-state", "no answer")
    page.clock.fast_forward(40_000)
    expect(page.locator("#orders .age")).to_contain_text("old")
    expect(page.locator("#orders.stale, #accounts.stale, .kpis.old")).to_have_count(3)
    mock.asked.clear()
    mock.down = False
    mock.to(LATER)
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
    expect(kpi(page, "seq")).to_have_text(whole(mock.world.now["seq"]))
    expect(page.locator("[data-banner], .age")).to_have_count(0)
    resumed = next(a for a in mock.asked if a.startswith("/v1/stream"))
    assert re.search(rf"[?&]after={at}&", resumed), resumed


def test_a_replay_is_scrubbed_and_two_stacks_are_compared(visit, mock, request):
    mock.progress = 0.5
    mock.replays.clear()
    page = visit("#/replay", width=1680, height=860)
    page.get_by_label("Stack A").select_option("bare")
    page.get_by_label("Stack B").select_option("guarded")
    page.get_by_role("button", name="Replay both").click()
    expect(page.locator(".transport .chip")).to_have_text("replaying, 50 %")
    mock.progress = 1.0
    expect(page.locator(".transport .chip")).to_have_text("217 steps")
    frames = {s: mock.world.frames(s, 0, 1000, 1000) for s in ("bare", "guarded")}
    slider = page.get_by_role("slider", name="Moment of the replay")
    ts = frames["guarded"]["ts"]
    slider.evaluate(SLIDE, ts[40] / 1e9 + 1)
    _compared(page, frames, 40)
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    _compared(page, frames, 52)
    keep(page, "replay", request)
    for row in mock._replay("r1")["verdict"]:
        shown = page.locator(f"[data-verdict={row['key']}] td")
        expect(shown.nth(0)).to_have_attribute("title", titled(row["values"]["bare"]))
        expect(shown.nth(1)).to_have_attribute("title", titled(row["values"]["guarded"]))
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_timeout(250)
    page.keyboard.press("Space")
    after = float(slider.input_value())
    assert ts[52] / 1e9 < after < ts[-1] / 1e9, "it plays, and stands still when told to"
    page.locator("#chart-bad_debt .u-over").click(position={"x": 1, "y": 20})
    expect(slider).to_have_value(re.compile(r"^17601308[45]"))
    page.keyboard.press("End")
    _compared(page, frames, len(ts) - 1)


SLIDE = """(node, at) => {
    node.value = at;
    node.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def titled(value):
    """Return a number as the page writes it whole: at most six decimals."""
    return whole(f"{value:.6f}".rstrip("0").rstrip("."))


def _compared(page, frames, k):
    ts = frames["guarded"]["ts"][k] / 1e9
    clock = f"{int(ts // 3600) % 24:02d}:{int(ts // 60) % 60:02d}:"
    expect(page.locator("[data-replay=time]")).to_contain_text(clock)
    for measure in ("branching", "rung", "forced", "liquidatable", "bad_debt", "fund"):
        row = page.locator(f"[data-measure={measure}] td")
        for n, stack in enumerate(("bare", "guarded")):
            value = titled(frames[stack][measure][k])
            expect(row.nth(n)).to_have_attribute("title", value)


def test_pictures_of_the_manual_are_small():
    sizes = {p.name: p.stat().st_size for p in PICTURES.glob("*.png")}
    assert sizes
    assert max(sizes.values()) < PICTURE_BYTES_MAX, sizes
