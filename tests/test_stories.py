"""Stories: what happens to a few people, told line by line and held against what was blessed."""

from pathlib import Path

import pytest

from storyteller import told


STORIES = sorted((Path(__file__).parent / "stories").glob("*.toml"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, golden):
    """Every line of it: the events, the effects, and what the script expects of them."""
    golden(f"story_{path.stem}", told(path))


def test_every_golden_file_has_its_story():
    """A transcript that nobody tells any more proves nothing."""
    goldens = {p.stem for p in (Path(__file__).parent / "golden").glob("story_*.txt")}
    assert goldens == {f"story_{p.stem}" for p in STORIES}
