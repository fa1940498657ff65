"""The code about the code: limits, captions, reasons, and pages that must agree with the source.

Every limit is a ratchet: it may be lowered, never raised without a decision page.
"""

import ast
import importlib.util
import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tidegate.domain.events import Input
from tidegate.domain.venue import Venue
from tidegate.safeguards.stack import SafeguardStack


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/tidegate"
DOCS = ROOT / "docs"

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
README_WORDS_MAX = 500
DECISION_WORDS_MAX = 650
LEFTOVERS_MAX = 0

# Written so that no pattern finds itself here.
BANNED = {
    r"(?<![\w.~])/(wor[k]|tm[p])/": "a path of somebody's machine: use a temporary folder",
    r"pyp[i]\.org|pythonhoste[d]|registry\.npm|deb\.debia[n]": "an address of a package index",
    r"farm-(benc[h]|studi[o])|\.librar[y]/|[Ss]ubagen[t]|shared/hook[s]": "a name of a workplace",
    r"\bthis (coding )?sessio[n]\b": "say what the code does, not who wrote it when",
    r"(ARCHITECTURE|STYLE|LIMITS|MODELS) \xa7": "a page that does not ship with the project",
}


def listed() -> list[Path]:
    """Return every file that is not ignored: what a stranger finds after cloning."""
    ignored = [*(ROOT / ".gitignore").read_text(encoding="utf-8").split(), ".git/"]
    files = []
    for folder, names, found in os.walk(ROOT):
        names[:] = [n for n in names if not any(fnmatch(n, i.rstrip("/")) for i in ignored)]
        files += [Path(folder) / name for name in found]
    return sorted(files)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # a picture or a table


def definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield what a module and its classes define, nested helpers left out."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (n for n in node.body if isinstance(n, ast.FunctionDef))


def test_functions_are_short():
    """A function longer than a screen holds two thoughts."""
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{short(path)}:{node.lineno} {node.name} has {lines} lines")
    assert not long, f"at most {FUNCTION_LINES_MAX} lines: " + "; ".join(long)


def test_files_are_short():
    counts = {short(path): len(text_of(path).splitlines()) for path in sources()}
    long = {path: lines for path, lines in counts.items() if lines > FILE_LINES_MAX}
    assert not long, f"at most {FILE_LINES_MAX} lines, one concern each: {long}"


def test_every_module_has_a_caption():
    """The first line of a module says in one sentence what belongs there."""
    missing = []
    for path in sources():
        caption = (ast.get_docstring(ast.parse(text_of(path))) or "").split("\n")[0]
        if not re.fullmatch(r".{12,98}[.:]", caption):
            missing.append(f"{short(path)}: {caption!r}")
    assert not missing, "\n".join(missing)


def test_every_folder_of_the_package_is_a_package():
    folders = {path.parent for path in sources()}
    bare = [short(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert not bare


def test_public_names_have_docstrings():
    bare = []
    for path in sources():
        bare += [
            f"{short(path)}:{node.lineno} {node.name}"
            for node in definitions(ast.parse(text_of(path)))
            if not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert not bare, "\n".join(bare)


def test_nothing_of_a_workplace_is_left_in_the_tree():
    found = []
    for path in listed():
        for number, line in enumerate(text_of(path).splitlines(), 1):
            for pattern, why in BANNED.items():
                if re.search(pattern, line):
                    found.append(f"{short(path)}:{number}: {why}")
    assert not found, "\n".join(found)


def test_no_leftovers():
    """What is not done belongs to the issue tracker; what is done needs no mark."""
    mark = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X])\b")
    code = [p for p in listed() if p.suffix in {".py", ".sh", ".toml", ".md", ".html"}]
    left = [short(p) for p in code for line in text_of(p).splitlines() if mark.search(line)]
    assert len(left) <= LEFTOVERS_MAX, left


def test_an_exception_from_a_rule_gives_its_reason():
    """`noqa: S603 (our own interpreter)`: what is switched off, and why it is right here."""
    switch = re.compile(r"#\s*(noqa|type:\s*ignore|pyright:|ruff:)(?P<rest>[^#]*)(?P<more>.*)")
    bare = []
    for path in listed():
        if path.suffix != ".py" or path == Path(__file__):
            continue
        lines = text_of(path).splitlines()
        for number, line in enumerate(lines, 1):
            found = switch.search(line)
            if not found:
                continue
            # The reason stands in the line itself or in a comment just above it.
            words = re.sub(r"\b[A-Za-z]*(?:\d+|report\w+|ignore|noqa|false|basic)\b", "", line)
            words = words.split("#", 1)[1]
            above = lines[number - 2].strip() if number > 1 else ""
            if not re.search(r"[a-z]{4,}", words) and not above.startswith("#"):
                bare.append(f"{short(path)}:{number}: {line.strip()}")
    assert not bare, "\n".join(bare)


def test_invariants_agree_in_code_docs_and_tests():
    """Every INV-n is asserted, explained and tested; none of the three knows one more."""
    pattern = re.compile(r"\bINV-(\d+)\b")

    def numbers(paths: list[Path]) -> set[int]:
        return {int(n) for path in paths for n in pattern.findall(text_of(path))}

    explained = {
        int(n) for n in re.findall(r"^#+ INV-(\d+)", text_of(DOCS / "invariants.md"), re.MULTILINE)
    }
    tests = [p for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__)]
    assert explained
    assert explained == numbers(sources())
    assert explained == numbers(tests)
    assert explained == set(range(1, max(explained) + 1)), "numbers are never reused or skipped"


def codes_used() -> set[str]:
    """Return every code a `Rejected` can carry, read from the source of the core."""
    found: set[str] = set()
    for path in [*(PACKAGE / "engine").glob("*.py"), *(PACKAGE / "safeguards").glob("*.py")]:
        for node in ast.walk(ast.parse(text_of(path))):
            match node:
                case ast.Call(
                    func=ast.Name(id="rejected"), args=[ast.Constant(value=str(code)), *_]
                ):
                    found.add(code)
                case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                    found.add(code)
                case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                    found.add(code)
                case ast.FunctionDef(name="refusal" | "allows"):
                    returned = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
                    values = [
                        n.value
                        for r in returned
                        for n in ast.walk(r)
                        if isinstance(n, ast.Constant)
                    ]
                    found |= {value for value in values if isinstance(value, str) and value}
    return found


def test_every_rejection_code_is_documented():
    """Codes are part of the public interface: one that is not on the page does not exist."""
    page = text_of(DOCS / "reference/codes.md")
    rows = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    documented = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert codes_used() == documented
    events = {e.__name__ for e in get_args(Input)}
    headings = {
        h for line in re.findall(r"^## (.+)$", page, re.MULTILINE) for h in line.split(", ")
    }
    assert headings - {"Every event"} <= events


def keys_of(kind: type, seen: set[type]) -> set[str]:
    """Return the names of all TOML keys below ``kind``, tagged unions and tuples included."""
    if kind in seen:
        return set()
    seen.add(kind)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {key for part in get_args(kind) for key in keys_of(part, seen)}
    keys: set[str] = set()
    for field in msgspec.structs.fields(kind):
        keys |= {field.encode_name} | keys_of(field.type, seen)
    return keys


def test_every_kernel_counts_for_the_cache_of_compiled_code(tmp_path: Path):
    """Numba does not notice an edited helper in another file; the folder's name has to."""
    shutil.copytree(PACKAGE, tmp_path / "p", ignore=shutil.ignore_patterns("__pycache__"))

    def folder() -> str:
        spec = importlib.util.spec_from_file_location("p", tmp_path / "p/__init__.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module._compiled_code_folder().name

    compiled = [p for p in sources() if re.search(r"^@(kernel|njit)\b", text_of(p), re.MULTILINE)]
    assert len(compiled) > 5
    for path in compiled:
        before, copy = folder(), tmp_path / "p" / path.relative_to(PACKAGE)
        copy.write_text(copy.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
        assert folder() != before, f"an edit of {short(path)} would run stale compiled code"


@pytest.mark.parametrize(("page", "kind"), [("stack", SafeguardStack), ("venue", Venue)])
def test_every_key_of_a_file_is_documented(page: str, kind: type):
    text = text_of(DOCS / f"reference/{page}.md")
    documented = set(re.findall(r"(?<=[`.\[])([a-z_]+)(?=[`\].])", text))
    assert keys_of(kind, set()) <= documented


EXAMPLES = [
    (short(page), block)
    for page in sorted(DOCS.rglob("*.md"))
    for block in re.findall(r"^```toml\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("page", "block"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_every_stack_in_the_docs_loads(page: str, block: str, tmp_path: Path):
    """An example that is refused teaches the wrong thing. A fragment is completed by a name."""
    del page
    if "[[instruments]]" in block or "[limits]" in block:
        pytest.skip("a venue file")
    named = block if re.search(r"^name\b", block, re.MULTILINE) else f'name = "x"\n{block}'
    (tmp_path / "stack.toml").write_text(named, encoding="utf-8")
    SafeguardStack.load(tmp_path / "stack.toml")


def test_the_readme_is_short():
    words = len(text_of(ROOT / "README.md").split())
    assert words <= README_WORDS_MAX


def test_decisions_say_what_would_change_our_mind():
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(p.name[:4]) for p in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = text_of(page)
        for part in ("## Context", "## Choice", "## What would change our mind"):
            assert part in text, f"{page.name} lacks {part!r}"
        assert len(text.split()) <= DECISION_WORDS_MAX, f"{page.name} is longer than a page"


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere():
    nav = set(re.findall(r"[\w/-]+\.md", text_of(ROOT / "mkdocs.yml")))
    pages = {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")}
    assert nav == pages
    broken = []
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        broken += [
            f"{short(page)} -> {target}"
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(page))
            if "://" not in target and not (page.parent / target).exists()
        ]
    assert not broken, "\n".join(broken)


def test_every_room_stands_in_the_table_of_rooms():
    """The page of rooms, the contracts and the folders are three views of one list."""
    table = re.findall(
        r"^\| `(\w+)(?:/|\.py)?` \|", text_of(DOCS / "reference/rooms.md"), re.MULTILINE
    )
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    contracts = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"\w+", layer) for layer in contracts[0]["layers"]]
    placed = {room for layer in layers for room in layer}
    assert set(table) == rooms - {"__init__", "__main__"}
    assert set(table) <= placed
    order = {room: k for k, layer in enumerate(layers) for room in layer}
    assert [order[room] for room in table] == sorted(order[room] for room in table)


STACKS = sorted((PACKAGE / "stacks").rglob("*.toml"))


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.stem)
def test_every_bundled_stack_loads(path: Path):
    """And says in its first line, in plain words, what it is."""
    assert SafeguardStack.load(path).name == path.stem
    assert text_of(path).startswith("# ")


def test_there_are_bundled_stacks():
    assert len(STACKS) >= 3
