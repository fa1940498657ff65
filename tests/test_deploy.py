"""What is shipped for operators names only what exists: metrics, alerts, settings, commands."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from operated import crash, operated
from tidegate.cli.serve import serve
from tidegate.service.alerts import KINDS


ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\b(?:tidegate|process)_[a-z_]+")
LABELS = re.compile(r"\b((?:tidegate|process)_[a-z_]+)\{([^}]*)\}")
OUTSIDE = {"job", "instance"}  # labels that Prometheus adds


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return the labels of every sample that a running service shows, by name."""
    behind = {"behind": lambda: [("nats:events", 0)]}
    probes = {"drift": lambda: 0, "disk_free": lambda: 1, **behind}
    with operated(probes=probes) as made:
        made.take(crash(200))
        with made.site(tmp_path_factory.mktemp("deploy")) as client:
            client.get("/healthz")
            text = client.get("/metrics").text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions():
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def test_every_metric_that_is_shipped_exists(samples):
    unknown = {
        f"{where}: {name}"
        for where, expr in expressions()
        for name in NAME.findall(expr)
        if name not in samples
    }
    assert not unknown, sorted(unknown)
    named = {name for _, expr in expressions() for name in NAME.findall(expr)}
    assert len(named) > 25


def test_every_label_that_is_shipped_exists(samples):
    for where, expr in expressions():
        for name, matchers in LABELS.findall(expr):
            labels = set(re.findall(r"(\w+)\s*[=!]", matchers)) - OUTSIDE
            assert labels <= samples[name], f"{where}: {name} has {samples[name]}"
        for names in re.findall(r"\bby \(([^)]*)\)", expr):
            used = {n.strip() for n in names.split(",")} - OUTSIDE
            on = set().union(*(samples[name] for name in NAME.findall(expr)))
            assert used <= on, f"{where}: {used - on}"


def test_rules_have_a_severity_and_a_place_to_go():
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))
    every = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in every}) == len(every)
    for rule in every:
        assert rule["labels"]["severity"] in {"page", "warn"}
        page, _, code = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page).exists()
        assert not code or code in KINDS or code == "{{ $labels.code }}"
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_panels_do_not_lie_on_one_another():
    panels = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    cells = set()
    for panel in panels:
        at = panel["gridPos"]
        here = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not here & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= here


def settings(text):
    """Return the directives of a unit, each with its values."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_is_hardened_and_stops_in_order():
    unit = settings((DEPLOY / "tidegate.service").read_text(encoding="utf-8"))
    for name, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "Restart": "always",
        "KillSignal": "SIGTERM",
        "User": "tidegate",
    }.items():
        assert unit[name] == [value]
    # `Engine.stop` waits 30 seconds for what is in the queue, and then writes a snapshot.
    assert int(unit["TimeoutStopSec"][0]) >= 60
    example = (DEPLOY / "tidegate.env.example").read_text(encoding="utf-8")
    known = {f"TIDEGATE_{p.name}".upper() for p in serve.params}
    named = set(re.findall(r"^#?(TIDEGATE_\w+)=", example, re.MULTILINE))
    assert named <= known
    assert set(re.findall(r"\$\{(\w+)\}", unit["ExecStart"][0])) <= named


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path):
    text = (DEPLOY / "tidegate.service").read_text(encoding="utf-8")
    text = text.replace("/opt/tidegate/bin/tidegate", "/bin/true")
    unit = tmp_path / "tidegate.service"
    unit.write_text(text, encoding="utf-8")
    asked = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_runs_as_nobody_of_importance():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "/healthz" in text
    assert "--require-hashes" in text
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.fullmatch(r"python:[\d.]+-slim", image), "a short name, and no registry"
