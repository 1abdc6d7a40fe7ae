"""House rules that a program can see: sizes, words, calls, and what every module begins with."""

import ast
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
TEST_LINES_MAX = 500  # tables of cases are long and simple

PURE = ("model", "config", "gossip", "repo", "publish", "forward", "http", "setup")

MODULES = sorted(
    path for top in ("station", "lbproxy") for path in (ROOT / top).rglob("*.py") if path.is_file()
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# A module is named by the noun that it is about.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "data", "info"}

# Names of ours that would say one thing with two words (the table of words is in the design).
FORBIDDEN_NAMES = re.compile(r"(?i)^(class|def) _?(\w*_)?(node|blob|vacuum|activation_key)s?\b")

LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b|pytest\.mark\.skip\b")

# Calls with a better place: (dotted call, where it may be, what to use).
BANNED_CALLS = {
    "asyncio.ensure_future": ((), "station.runtime.tasks"),
    "asyncio.get_event_loop": ((), "asyncio.get_running_loop"),
    "time.time": (("station/runtime/",), "`now` as a parameter, or station.runtime.clock"),
    "datetime.utcnow": ((), "datetime.now(UTC)"),
    "os.system": ((), "subprocess.run with a list"),
    "eval": ((), "a parser"),
    "exec": ((), "a function"),
    "pickle.loads": ((), "JSON and a model"),
    "print": (("station/cli/",), "runtime.lines, or sys.stdout where it is the result"),
}

# Below these a known flaw can be reached.
FLOORS = {
    "aiohttp": (3, 14, 5),  # request smuggling and memory bounds of its parser and server
    "httpx": (0, 28, 1),
    "apscheduler": (3, 11),
    "pydantic": (2, 9),
    "cryptography": (43,),
    "jinja2": (3, 1, 6),  # sandbox escapes
    "zstandard": (0, 23),
    "pysequoia": (0, 1, 28),
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, timeout=30
    )
    if listed.returncode:  # an unpacked archive
        return MODULES + TESTS
    return [path for name in listed.stdout.decode().split("\0") if (path := ROOT / name).is_file()]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def call_name(node: ast.Call) -> str:
    parts = []
    function: ast.expr = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    parts.append(function.id if isinstance(function, ast.Name) else "")
    return ".".join(reversed(parts))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_is_short_and_says_first_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MODULE_LINES_MAX, "one noun a module: what could leave?"
    assert path.stem not in EMPTY_NAMES, "a module is named by the noun that it is about"
    tree = parsed(path)
    assert ast.get_docstring(tree), "a module opens with what it is for"
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_test_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= TEST_LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_calls_nothing_that_has_a_better_place(path: Path) -> None:
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and call_name(node) in BANNED_CALLS:
            places, better = BANNED_CALLS[call_name(node)]
            if not relative(path).startswith(places or ("\0",)):
                found.append(f"{relative(path)}:{node.lineno}: {call_name(node)}: use {better}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_has_no_leftovers_and_our_words(path: Path) -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LEFTOVERS.search(line) or FORBIDDEN_NAMES.match(line.strip())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if relative(p).startswith(tuple(f"station/{x}/" for x in PURE))],
    ids=relative,
)
def test_public_functions_of_pure_packages_are_documented(path: Path) -> None:
    bare = [
        f"{relative(path)}:{node.lineno}: {node.name}"
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare, "\n".join(bare)


def test_no_file_names_a_directory_of_one_machine() -> None:
    homes = re.compile(rb"(?<![\w.])/(home|root|Users)/[a-z.]")
    here = str(ROOT).encode() if len(ROOT.parts) > 2 else b"\0"  # a name at the root is a word too
    found = [
        f"{relative(path)}:{number}"
        for path in tracked()
        if path.suffix not in (".rpm", ".gz", ".zst", ".xz") and path != Path(__file__)
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if homes.search(line) or here in line
    ]
    assert not found


def test_top_level_is_what_the_readme_describes() -> None:
    allowed = set(
        "pyproject.toml README.md Makefile LICENSE docker-compose.yml station lbproxy systemd tests "
        ".ci .gitignore .gitattributes .dockerignore".split()
    )
    assert {relative(path).split("/")[0] for path in tracked()} <= allowed


@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_library_is_not_older_than_its_last_known_flaw(
    package: str, floor: tuple[int, ...]
) -> None:
    installed = tuple(int(part) for part in re.findall(r"\d+", version(package))[:3])
    assert installed >= floor
