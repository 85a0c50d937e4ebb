"""The house keeps its own rules: layers, pure rooms, docstrings, file sizes, forbidden words, and README's picture."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("noticesvc", "providers", "tests", "bench")
LONGEST_FILE = 400
# A released migration is a record: it says column by column what was made, is never edited, and so is never split either.
RECORDS = "noticesvc/storage/migrations/versions/"
PURE_ROOMS = ("noticesvc/domain", "noticesvc/ledger", "noticesvc/proof", "noticesvc/upload")
# What reads a clock, chance, or the outside; `datetime.now` and the like are found by their last word.
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "urandom", "uuid1", "uuid4", "uuid7", "getrandbits"}
# Written in two pieces, so that this file does not find itself.
FORBIDDEN_WORDS = ("/wo" + "rk/", "/tmp/" + "ns", "pypi" + ".org", "pythonhosted" + ".org", "TO" + "DO", "FIX" + "ME")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".json", ".html", ".css", ".cfg", ".ini", ".mako", ".sh", ""}


def tracked_files() -> list[Path]:
    """What git tracks or would track (so that a new file is held to the rules before its first commit)."""
    names: list[str] = []
    if git := shutil.which("git"):
        listing = subprocess.run(
            [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        )
        names = [name for name in listing.stdout.decode().split("\0") if name]
    if not names:  # no git here, or an unpacked archive
        names = [path.name for path in ROOT.iterdir() if path.is_file()] + [
            path.relative_to(ROOT).as_posix() for top in (*OURS, "docs") for path in (ROOT / top).rglob("*")
            if "__pycache__" not in path.parts
        ]
    return sorted(path for name in set(names) if (path := ROOT / name).is_file())


def python_files(*tops: str) -> list[Path]:
    """Our Python files under these folders."""
    return [path for path in tracked_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in tops]


def relative(path: Path) -> str:
    """The path as a person writes it in a message."""
    return path.relative_to(ROOT).as_posix()


def imported_modules(path: Path) -> list[str]:
    """Every module that a file imports, as its full dotted name; a relative import is an offence of its own."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively; write the full name"
            if node.module in {"noticesvc", "providers", "providers.shared"}:  # `from noticesvc import errors`
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                names.append(node.module or "")
    return names


def test_there_is_a_house_to_check():
    """The lists below are not empty by mistake, which would make every other rule hold."""
    files = {relative(path) for path in tracked_files()}
    assert {"pyproject.toml", "noticesvc/errors.py", "noticesvc/provider.py", "tests/conftest.py"} <= files
    assert len(python_files("noticesvc")) > 2


def test_imports_run_one_way():
    """import-linter's contracts in pyproject.toml hold, and the layers are exhaustive."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-logo", "--no-cache"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    assert layers["exhaustive"] is True
    assert layers["containers"] == ["noticesvc"]


def test_providers_know_one_module_of_the_service():
    """Of ours a provider imports noticesvc.provider and providers.shared alone, never another provider."""
    offences = [
        f"{relative(path)}: {name}"
        for path in python_files("providers") for name in imported_modules(path)
        if (name.partition(".")[0] == "noticesvc" and not f"{name}.".startswith("noticesvc.provider."))
        or (name.partition(".")[0] == "providers" and not f"{name}.".startswith("providers.shared."))
    ]
    assert not offences


def test_sqlalchemy_is_not_known_outside_its_rooms():
    """Storage names SQLAlchemy, and operations at most a connection's type; api, cli and providers do not."""
    closed = ("api", "cli", "console", "rendering", "domain", "ledger", "proof", "certificate", "witness")
    offences = [
        f"{relative(path)}: {name}"
        for path in python_files("noticesvc", "providers") for name in imported_modules(path)
        if name.partition(".")[0] == "sqlalchemy"
        and (path.relative_to(ROOT).parts[0] == "providers" or path.relative_to(ROOT).parts[1] in closed)
    ]
    assert not offences


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_the_core_asks_no_clock_no_chance_and_no_disk(room):
    """Time, ids and jitter are arguments in the pure rooms: no call there reads a clock, a random source or a file."""
    offences = [
        f"{relative(path)}:{node.lineno}: {name}()"
        for path in python_files("noticesvc") if relative(path).startswith(f"{room}/")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)
        for name in [node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")]
        if name in IMPURE_CALLS
    ]
    assert not offences


def test_every_file_says_what_it_is_for():
    """Every Python file of ours has a module docstring."""
    without = [
        relative(path) for path in python_files(*OURS) if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert not without


def test_every_test_has_a_sentence():
    """Each test function begins with a docstring that says what holds."""
    without = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in python_files("tests") if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not without


def test_no_file_is_long():
    """No Python file but a migration is over 400 lines: one concept a file."""
    long = {
        relative(path): count for path in python_files(*OURS) if not relative(path).startswith(RECORDS)
        if (count := len(path.read_text("utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long


def test_no_forbidden_words():
    """No tracked text names a private path or a registry host, or says that something is still to be done."""
    offences = [
        f"{relative(path)}: {word}"
        for path in tracked_files() if path.suffix in TEXT_SUFFIXES
        for text in [path.read_text("utf-8", errors="replace")]
        for word in FORBIDDEN_WORDS if word in text
    ]
    assert not offences


def test_constraints_pin_every_package_by_version_alone():
    """constraints.txt is plain name==version lines: no URL, no hash, no index."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_constraints_pin_every_declared_package():
    """What pyproject.toml asks for, constraints.txt pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(name for extra in extras for name in extra)]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {_plain(line.partition("==")[0]) for line in lines}
    assert {_plain(re.split(r"[\[<>=!~; ]", name)[0]) for name in declared} - pinned == set()


def _plain(name: str) -> str:
    """A distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_picture_of_the_house_is_true(readme):
    """README draws each room of noticesvc/ that exists, and none of the top level that does not."""
    text = (ROOT / readme).read_text("utf-8")
    picture = re.search(r"<!-- house -->\s*```\n(.*?)```", text, re.DOTALL)
    assert picture, "the picture stands in a code block after <!-- house -->"
    drawn = {line.split()[0] for line in picture.group(1).splitlines() if line.strip()}
    files = [path.relative_to(ROOT).parts for path in tracked_files()]
    rooms = {
        f"{parts[1]}/" if len(parts) > 2 else parts[1]
        for parts in files if parts[0] == "noticesvc" and len(parts) > 1 and parts[1] not in {"__init__.py", "py.typed"}
    }
    tops = {f"{parts[0]}/" for parts in files if len(parts) > 1 and not parts[0].startswith(".")}
    assert rooms - drawn == set(), "rooms that the picture lacks"
    assert tops - drawn == set(), "folders that the picture lacks"
    assert drawn - rooms - tops == set(), "drawn, but not there"
