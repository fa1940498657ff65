"""The pages about the API say what the service really serves."""

import re
from pathlib import Path

import pytest

from crash_world import stack_of
from tidegate.adapters.memory import MemoryJournal
from tidegate.service import site as sites
from tidegate.service.auth import Identity
from tidegate.service.settings import Places, Tuning


DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Return every row of a whole site."""
    found = []
    build = sites.build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sites, "build", lambda s, routes, **k: found.extend(routes) or build(s, routes, **k)
        )
        folder = tmp_path_factory.mktemp("site")
        viewer = Identity("", "viewer", ("viewer",))
        places = Places(journal="memory:", state=folder)
        site = sites.Site(stack_of(), MemoryJournal(), places, Tuning(), anonymous=viewer)
        site.audit.close()
    return found


def test_the_page_lists_every_call_and_its_role(rows):
    page = (DOCS / "reference/api.md").read_text()
    said = dict(re.findall(r"^\| `([A-Z]+ /\S*)` \| (\w+) \|", page, re.MULTILINE))
    assert said == {f"{r.method} {r.path}": r.role or "anybody" for r in rows}


def test_no_two_rows_answer_the_same_call(rows):
    calls = [(r.method, r.path) for r in rows]
    assert len(set(calls)) == len(calls)


def test_whatever_changes_something_needs_more_than_looking(rows):
    """A viewer may ask, get a ticket and have an order judged, and nothing else."""
    looking = {"/v1/tickets", "/v1/pretrade"}
    changing = {r.path for r in rows if r.method != "GET" and r.role in {None, "viewer"}}
    assert changing <= looking
