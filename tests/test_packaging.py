"""What a stranger receives: the wheel's files, the locks, the scripts that start everything."""

import ast
import os
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import tidegate


ROOT = Path(__file__).parents[1]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel as a stranger's pip would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    built = next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(built) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile):
    """Stacks, templates and the type marker travel; nothing that was made by running does."""
    package = ROOT / "src/tidegate"
    kept = (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    expected = {f"tidegate/{p.relative_to(package).as_posix()}" for p in kept}
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == expected
    assert "tidegate/py.typed" in names
    assert any(re.fullmatch(r"tidegate/stacks/.+\.toml", name) for name in names)
    assert any(name.startswith("tidegate/report/templates/") for name in names)


def test_the_wheel_names_its_command_and_its_licence(wheel: zipfile.ZipFile):
    info = f"tidegate-{PROJECT['project']['version']}.dist-info"
    assert "tidegate = tidegate.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    licence = wheel.read(f"{info}/licenses/LICENSE").decode()
    assert "Apache License" in licence
    assert "The Tidegate authors" in licence


def test_the_version_is_said_once():
    assert tidegate.__version__ == PROJECT["project"]["version"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_hashes_and_no_address(lock: Path):
    text = lock.read_text(encoding="utf-8")
    pins = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert pins
    for pin in pins:
        assert re.match(r"[a-z0-9._-]+(\[[a-z]+\])?==\S+", pin), pin.splitlines()[0]
        assert "--hash=sha256:" in pin, pin.splitlines()[0]
    assert not re.search(r"://|^--?(index|extra-index|find-links|i|f)\b", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_covers_what_the_package_needs(lock: Path):
    """A dependency that was added without `make lock` is found here, not by a newcomer."""
    pinned = set(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z]+\])?==", lock.read_text(), re.MULTILINE))
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    if "dev" in lock.name:
        wanted += PROJECT["dependency-groups"]["dev"]
    names = {re.match(r"[a-z0-9._-]+", need).group() for need in wanted}
    assert names <= pinned


def test_every_import_is_declared():
    """What arrives only because somebody else needs it may leave with the next version.

    A benchmark asks for its yardsticks by `import_module` and does without them: none is needed.
    """
    declared = {re.match(r"[a-z0-9._-]+", d).group() for d in PROJECT["project"]["dependencies"]}
    imported: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    imported |= {alias.name.split(".")[0] for alias in names}
                case ast.ImportFrom(module=str(module)):
                    imported.add(module.split(".")[0])
                case ast.Call(
                    func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                    args=[ast.Constant(value=str(module))],
                ) if "lab/bench" not in path.as_posix():
                    imported.add(module.split(".")[0])
    # Yardsticks of the benchmarks are left out where they are not installed.
    dev = " ".join(PROJECT["dependency-groups"]["dev"])
    optional = {"polars", "duckdb"}
    assert all(f"{name}>=" in dev for name in optional)
    extras = {"opentelemetry"}
    assert all(name in str(PROJECT["project"]["optional-dependencies"]) for name in extras)
    foreign = imported - set(sys.stdlib_module_names) - {"tidegate"} - optional - extras
    called = {"nats": "nats-py"}  # a module by another name than its package
    by_name = {"httptools", "uvloop"}  # what uvicorn takes when it is there, for its speed
    assert {called.get(n, n.replace("_", "-")) for n in foreign} | by_name == declared


def test_the_locks_agree_with_one_another():
    """`make test` must not judge other versions than `make run` uses."""
    pins: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, rest in re.findall(
            r"^([a-z0-9._-]+)==([^\\\n]+)", lock.read_text(), re.MULTILINE
        ):
            version = rest.split(";")[0].strip()
            pins.setdefault(f"{name} in {lock.name}", set()).add(version)
    runtime = {k.split(" in ")[0]: v for k, v in pins.items() if k.endswith("requirements.lock")}
    for name, versions in runtime.items():
        for lock in LOCKS:
            assert pins[f"{name} in {lock.name}"] == versions, f"{name} in {lock.name}"


@pytest.mark.parametrize("script", ["tools/venv.sh", ".ci/run"])
def test_a_script_can_be_run(script: str):
    assert os.access(ROOT / script, os.X_OK)
