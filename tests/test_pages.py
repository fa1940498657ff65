"""The dashboard's files without a browser: how they are served, and what they were made from."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette

from service_world import served
from tidegate.service.pages import FOREVER, assets, open_paths, routes


ROOT = Path(__file__).parents[1]
BUILT = ROOT / "src/tidegate/service/dashboard"
SUMS = ROOT / "web/built.sha256"
SCRIPT_BYTES_MAX = 120_000  # of what the first page needs


@pytest.fixture(scope="module")
def client():
    with served(Starlette(routes=routes())) as made:
        yield made


def test_the_page_comes_with_a_policy_that_lets_nothing_else_in(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    page = answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", page), "the policy forbids inline scripts"
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", page)


def test_every_file_that_the_page_names_is_served_and_kept(client):
    named = re.findall(r'(?:src|href)="\./([^"]+)"', client.get("/").text)
    assert any(name.endswith(".js") for name in named)
    assert any(name.endswith(".css") for name in named)
    for name in named:
        answer = client.get(f"/{name}")
        assert answer.status_code == 200, name
        hashed = name.startswith("assets/")
        assert answer.headers["cache-control"] == (FOREVER if hashed else "no-cache")
        assert "content-security-policy" in answer.headers
        again = client.get(f"/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
        other = client.get(f"/{name}", headers={"If-None-Match": '"another"'})
        assert other.status_code == 200
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    assert client.head("/").status_code == 200
    assert client.post("/").status_code == 405
    assert client.get("/assets/../pages.py").status_code == 404
    assert client.get("/assets/%2e%2e/%2e%2e/pages.py").status_code == 404


def test_paths_that_need_no_key_are_the_files_and_nothing_else():
    served = {route.path for route in routes()}
    assert open_paths() == served
    assert not [path for path in served if path.startswith("/v1")]


def test_scripts_are_small_and_fetch_nothing_from_elsewhere():
    found = assets()
    first = re.findall(r'src="\./([^"]+\.js)"', found["index.html"].content.decode())
    assert sum(len(found[name].content) for name in first) < SCRIPT_BYTES_MAX
    for name, asset in found.items():
        text = asset.content.decode()
        hosts = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'`]*", text))
        assert not {h for h in hosts if "www.w3.org" not in h}, name
        assert "eval(" not in text


def test_what_is_committed_was_built_from_what_is_committed():
    """`make web` writes both lists; whoever edits web/ and does not build hears it here."""
    kept = dict(line.split("  ", 1)[::-1] for line in SUMS.read_text("utf-8").splitlines())
    here = {
        path.relative_to(ROOT).as_posix()
        for folder in (ROOT / "web", BUILT)
        for path in folder.rglob("*")
        if path.is_file() and "node_modules" not in path.parts
    } - {SUMS.relative_to(ROOT).as_posix(), "web/README.md"}
    assert here == set(kept), "run make web"
    stale = [n for n, s in kept.items() if hashlib.sha256((ROOT / n).read_bytes()).hexdigest() != s]
    assert not stale, f"run make web: {stale}"


def test_the_lock_names_no_registry_and_checks_every_package():
    lock = json.loads((ROOT / "web/package-lock.json").read_text("utf-8"))
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert len(packages) > 10
    assert not [name for name, p in packages.items() if "resolved" in p]
    assert not [name for name, p in packages.items() if "integrity" not in p]
    declared = json.loads((ROOT / "web/package.json").read_text("utf-8"))
    ranges = [*declared["dependencies"].values(), *declared["devDependencies"].values()]
    assert all(re.fullmatch(r"[\d.]+", version) for version in ranges)


@pytest.mark.skipif(
    not (ROOT / "web/node_modules/.made-from").exists() or shutil.which("node") is None,
    reason="nothing is installed in web/node_modules: tools/web.sh does that",
)
def test_a_fresh_build_is_byte_for_byte_what_is_committed():
    done = subprocess.run(
        [str(ROOT / "tools/web.sh"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout)
