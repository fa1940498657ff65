"""The report is one honest file: it holds everything, asks the network for nothing, and is read."""

import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from handmade import VENUE, run, three, verdict
from tidegate.report import Subject, verdict_words, write
from tidegate.report.cascade import painted
from tidegate.report.metrics import METRICS, baseline, challenger, loss_share
from tidegate.report.numbers import amount, brief, duration, percent
from tidegate.report.page import page
from tidegate.report.theme import NAMES, STAND_IN
from tidegate.report.timeline import Cells, thinned


NAMED = [f"account-{k:04d}" for k in range(400)]
SIZE_MAX = 3_000_000
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SECTIONS = (
    "Every number, side by side",
    "The price, with and without forced orders",
    "How much was forced, second by second",
    "The cascade profile",
    "Who paid",
    "Who was hit",
    "What the breaker did",
    "What was reconstructed or assumed",
    "What each number means",
    "Identity",
)


def subject(**changes):
    facts = {
        "title": "a <crash> & its end",
        "digest": "ab" * 16,
        "venue": VENUE,
        "names": NAMED,
        "command": "tidegate replay 'my crash' --stack bare --stack guarded",
    }
    return Subject(**(facts | changes))


@pytest.fixture(scope="module")
def html():
    return page(three(), subject())


class Reader(HTMLParser):
    """Collects what a browser would fetch, draw and show."""

    VOID = frozenset({"meta", "link", "br", "path", "use", "image", "rect", "line", "polyline"})

    def __init__(self):
        super().__init__()
        self.fetched, self.pictures, self.texts, self.open = [], [], [], []
        self.problems = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.fetched += [
            value
            for name, value in attrs
            if name in {"src", "href", "xlink:href"} and not value.startswith(("#", "data:"))
        ]
        if tag == "svg":
            self.pictures.append((found["class"], found["aria-label"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    return reader


def test_it_holds_every_section_and_every_number(html):
    for section in SECTIONS:
        assert f"<h2>{section}</h2>" in html
    for metric in METRICS:
        assert metric.label in html
        assert metric.meaning in unescape(html)
    for run_ in three():
        assert run_.stack.digest in html
        assert run_.digest in html
    assert "tidegate replay &#39;my crash&#39; --stack bare" in html


def test_it_asks_the_network_for_nothing_and_runs_no_script(html):
    assert read(html).fetched == []
    assert "<script" not in html
    assert not re.search(r"url\((?!#)|@import", html)
    assert len(html) < SIZE_MAX


def test_it_is_well_formed_and_every_id_is_unique(html):
    reader = read(html)
    assert reader.problems == []
    assert reader.open == []
    ids = re.findall(r'\bid="([^"]+)"', html)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', html))
    assert used <= set(ids)
    shared = {i for i in used if ids.count(i) > 1}
    assert not shared, "a clip path of one picture would cut another"


def test_every_picture_is_there_at_both_widths(html):
    pictures = read(html).pictures
    wide = [label for kind, label in pictures if kind == "wide"]
    assert len(wide) == 8  # two prices, flow, two profiles, money, people, rungs
    assert wide == [label for kind, label in pictures if kind == "narrow"]
    assert html.count("data:image/png;base64,") == 3 * 2 * 2  # a heat map a stack and width


def test_colours_are_left_to_the_page(html):
    assert not any(colour in html for colour in STAND_IN.values())
    drawn = set(re.findall(r"var\(--([a-z0-9]+)\)", html))
    styled = set(re.findall(r"--([a-z0-9]+):", html))
    assert drawn <= styled
    dark = html[html.index("prefers-color-scheme: dark") :]
    dark = set(re.findall(r"--([a-z0-9]+):", dark[: dark.index("* {")]))
    assert set(NAMES) <= dark


def test_what_others_wrote_is_escaped(html):
    assert "<crash>" not in html
    assert "a &lt;crash&gt; &amp; its end" in html
    assert "&lt;for a test&gt; &amp; nothing else" in html


def test_the_same_runs_give_the_same_bytes(html):
    assert page(three(), subject()) == html


def test_one_run_alone_is_reported_without_comparing(tmp_path):
    write(tmp_path / "new" / "report.html", [run("lonely", 1.0)], subject())
    html = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "Whole loss, share of" not in html
    assert 'class="best"' not in html
    assert "Under lonely, " in html


def test_a_calm_run_says_that_nothing_happened():
    calm = run("calm", 0.0, seconds=30)
    calm.casualties.first[:] = 0
    calm.casualties.forced[:] = 0
    html = page([calm], subject())
    assert "No account was liquidated under any stack." in html
    assert "Winners who gave up most" not in html


def test_the_best_of_a_row_is_marked_and_ties_are_not():
    row = next(m for m in METRICS if m.key == "bad_debt")
    runs = [verdict(bad_debt=5), verdict(bad_debt=7_000_000), verdict(bad_debt=9_000_000)]
    assert row.best(runs) == {0}
    assert row.best(runs[:1]) == set()
    assert row.best([verdict(bad_debt=7_000_000), verdict(bad_debt=7_000_001)]) == set()
    assert row.best([runs[0], runs[0], runs[1]]) == {0, 1}
    higher = next(m for m in METRICS if m.key == "recovery_ratio")
    got = [verdict(recovered_ppm=None), verdict(recovered_ppm=990_000), verdict(recovered_ppm=10)]
    assert higher.best(got) == {1}
    neither = next(m for m in METRICS if m.key == "regenerated_share")
    assert neither.best([verdict(regenerated=1), verdict(regenerated=900)]) == set()


def test_the_baseline_and_the_judged_are_found_by_name_or_place():
    assert baseline(["guarded", "bare"]) == 1
    assert challenger(["guarded", "bare"]) == 0
    assert (baseline(["a", "b", "c"]), challenger(["a", "b", "c"])) == (0, 2)
    assert (baseline(["bare"]), challenger(["bare"])) == (0, 0)
    assert loss_share(verdict(bad_debt=1, deficit_at_end=2), verdict(bad_debt=12)) == 0.25
    assert loss_share(verdict(bad_debt=1), verdict()) is None


def test_the_words_own_up_to_what_is_worse():
    bare = verdict(bad_debt=100_000_000, accounts_liquidated=10, peak_impact_ppm=100_000)
    worse = verdict(
        bad_debt=250_000_000,
        accounts_liquidated=12,
        insolvent_seconds=90.0,
        rung_seconds=(0.0, 30.0, 0.0, 0.0, 60.0),
    )
    said = " ".join(verdict_words(["bare", "guarded"], [bare, worse], "USD"))
    assert "the loss rose from 100.00 USD to 250.00 USD" in said
    assert "Guarded is worse in bad debt (250.00 against 100.00)" in said
    assert "accounts liquidated (12 against 10)" in said
    assert "its breaker restricted trading for 90 s, 60 s of it on halt" in said


def test_the_words_say_what_got_better_and_what_it_cost():
    bare, neutral, guarded = three()
    names = [r.name for r in (bare, neutral, guarded)]
    said = verdict_words(names, [r.verdict for r in (bare, neutral, guarded)], "USD", "vault")
    text = " ".join(said)
    assert said[0].startswith("Under bare, 360 of 400 vaults were liquidated")
    assert "the loss fell by 78 % to 5.28 M USD" in text
    assert "it asked 8.72 % of initial margin on average instead of 6.00 %" in text
    assert "For comparison, under neutral" in text


@pytest.mark.parametrize(
    ("paid", "said"),
    [
        (4_000_000, "by 50 % to 4.00 USD, which the fund paid;"),
        (3_000_000, "by 50 % to 4.00 USD, of which the fund paid 3.00 USD;"),
        (0, "by 50 % to 4.00 USD;"),
    ],
)
def test_the_words_tell_what_the_fund_is_for(paid, said):
    bare = verdict(bad_debt=8_000_000, adl_profit_taken=8_000_000)
    other = verdict(bad_debt=4_000_000, fund_used=(paid,), uncovered=4_000_000 - paid)
    text = " ".join(verdict_words(["bare", "guarded"], [bare, other], "USD"))
    assert said in text
    rest = f"{(4_000_000 - paid) / 1e6:.2f} USD" if paid < 4_000_000 else "nothing"
    assert f"other accounts bore {rest} instead of 8.00 USD" in text


def test_the_words_for_nothing():
    assert verdict_words(["calm"], [verdict()], "USD") == [
        "Under calm, nobody was liquidated and nobody lost more than they had."
    ]


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (0, "0"),
        (1_500_000, "1.50"),
        (-1_500_000, "-1.50"),
        (9_999_990_000, "9,999.99"),
        (10_000_000_000, "10,000"),
        (999_499_000_000, "999,499"),
        (999_500_000_000, "1.00 M"),
        (1_234_567_000_000_000, "1.23 bn"),
    ],
)
def test_amounts_keep_the_digits_that_matter(money, text):
    assert amount(money) == text


def test_other_numbers_in_words():
    assert (brief(0), brief(25e12), brief(1.5e9)) == ("0", "25 M", "1.5 k")
    assert percent(0.1234) == "12.3 %"
    assert [duration(s) for s in (0, 3.25, 66, 125, 120, 7_260, 200_000)] == [
        "0 s",
        "3.2 s",
        "66 s",
        "2 min 5 s",
        "2 min",
        "2 h 1 min",
        "2 d 7 h",
    ]


def test_thinning_keeps_every_spike_and_both_ends():
    ts = np.arange(50_000, dtype=np.int64) * 10**9
    value = np.zeros(50_000)
    value[[777, 31_234]] = (9.0, -7.0)
    t, y = thinned(ts, value, 100)
    assert t.size <= 400
    assert (y.max(), y.min()) == (9.0, -7.0)
    assert (t[0], t[-1]) == (0.0, ts[-1] / 86_400e9)


def test_cells_are_whole_samples_and_lose_no_flow():
    series = run("bare", 1.0).series
    cells = Cells.over([series], most=100)
    assert cells.width % series.step_ns == 0
    rate = cells.rate(series.ts, series.sold[:, 0])
    assert rate.sum() * cells.seconds == pytest.approx(series.sold[:, 0].sum())


def test_the_ramp_breaks_where_a_cascade_begins():
    calm, below, above, most = painted(np.array([[0.0, 0.99, 1.0, 500.0]]))[0].tolist()
    assert calm[3] == 0
    assert abs(below[1] - above[1]) > 60
    assert above[3] == most[3] == 255


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine: the page is not rendered")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (420, False)])
def test_a_real_browser_draws_it_without_complaint(html, tmp_path, width, dark):
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={width},3000",
            f"--screenshot={picture}",
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if not picture.exists():
        pytest.skip(f"chromium cannot start here: {done.stderr.strip().splitlines()[-1:]}")
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    pixels = np.rint(imread(picture)[:, :, :3] * 255).astype(int)
    background = pixels[5, 5].mean()
    assert background < 60 if dark else background > 200
    assert pixels.std() > 15, "the page is blank"
    assert (np.ptp(pixels, axis=2) > 100).sum() > 1_000, "no coloured line is drawn"
