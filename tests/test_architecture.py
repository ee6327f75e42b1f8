"""Rules of the house that no tool checks by itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.sources import parsed

ROOT = Path(__file__).parent.parent
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")} | {
    ("time", name) for name in ("time", "time_ns", "sleep")
}
ID_MAKERS = {("uuid", "uuid1"), ("uuid", "uuid4"), ("secrets", "token_hex"), ("secrets", "token_urlsafe")} | {
    ("secrets", "randbits"),
    ("secrets", "token_bytes"),
}
READS_THE_CLOCK = {"bot/system.py"}
WAITS = {("bot/storage/postgres.py", ("time", "sleep"))}  # a moment before the server is asked again
FOLDERS = ("bot/domain", "bot/services", "bot/ports", "bot/storage", "handlers")
MAX_LINES = 400
SHIPPED = ("bot", "handlers", "integrations", "playground")
ELSEWHERE = "playground/sample/"  # runs in Buildbot's environment
NOT_IMPORTED = {"tzdata"}  # the standard library reads its files
TOOLS = {"gunicorn", "import-linter", "mypy", "pytest-xdist", "ruff"}  # run, not imported; and types-… for mypy
LOCKS = ("requirements.lock", "requirements-dev.lock", "playground/buildbot.lock")


def _modules(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def _calls(name: str) -> Iterator[tuple[tuple[str, str], int]]:
    for node in ast.walk(parsed(ROOT / name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            yield (name, node.func.attr), node.lineno


def _imported(*folders: str) -> set[str]:
    """The distributions that the modules of some folders import, by their normalised names."""
    distributions = packages_distributions()
    found = set()
    for name, _ in _modules(*folders):
        for node in ast.walk(parsed(ROOT / name) if not name.startswith(ELSEWHERE) else ast.Module([], [])):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found |= {top for top in (full.partition(".")[0] for full in names) if top not in sys.stdlib_module_names}
    ours = {*SHIPPED, "tests", "benchmarks"}
    return {_normal(distributions.get(top, [top])[0]) for top in found - ours}


def _normal(name: str) -> str:
    return re.split(r"[<>=!~;\[ ]", name)[0].replace("_", "-").lower()


def _declared() -> tuple[set[str], set[str]]:
    """What pyproject.toml names for running and for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed, development = project["project"]["dependencies"], project["dependency-groups"]["dev"]
    return {_normal(name) for name in needed}, {_normal(name) for name in development}


def _extras() -> set[str]:
    """What pyproject.toml names for those who want more: drivers that are loaded by an address, what draws charts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {_normal(name) for extra in project["optional-dependencies"].values() for name in extra}


def test_every_dependency_is_declared_and_used() -> None:
    """What is imported is named in pyproject.toml, and what is named there is imported."""
    needed, development = _declared()
    assert _imported(*SHIPPED) - _extras() == needed - NOT_IMPORTED
    stubs = {name for name in development if name.startswith("types-")}
    assert _imported("tests", "benchmarks") - needed - _extras() == development - TOOLS - stubs


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_hold_hashes_and_no_addresses(lock: str) -> None:
    """Everything pinned is checked when it is installed, from whatever index the machine uses."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    pins = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith(("#", " "))]
    assert pins
    assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []
    assert re.findall(r"https?:|file:|--(?:extra-)?index-url|--find-links| @ ", text) == []


def test_lock_files_follow_the_declared_dependencies() -> None:
    """Each declared dependency is pinned in the file it is installed from."""
    needed, development = _declared()
    needed |= _extras()
    for lock, wanted in (("requirements.lock", needed), ("requirements-dev.lock", needed | development)):
        pinned = {_normal(line) for line in (ROOT / lock).read_text(encoding="utf-8").splitlines() if "==" in line}
        assert wanted - pinned == set(), lock


def test_imports_go_in_one_direction() -> None:
    """The layers and the independence of the playground, as pyproject.toml draws them."""
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_only_the_ports_tell_time_and_make_ids() -> None:
    """What happens when, and under which id, can be decided by a test: nothing else reads the clock or makes an id."""
    found = [
        f"{name}:{line} {'.'.join(call)}"
        for name, _ in _modules(*FOLDERS)
        for call, line in _calls(name)
        if call in CLOCKS | ID_MAKERS and name not in READS_THE_CLOCK and (name, call) not in WAITS
    ]
    found += [
        f"{name}:{line} {'.'.join(call)}"
        for name, _ in _modules("integrations")
        for call, line in _calls(name)
        if call in (CLOCKS | ID_MAKERS) - {("time", "sleep")}  # a moment before an outside system is asked again
    ]
    assert found == []


def test_every_broad_except_says_why() -> None:
    """Whatever catches everything stands at an edge, and says on its line which one."""
    found = [
        f"{name}:{number}"
        for name, source in _modules("bot", "handlers", "integrations")
        for number, line in enumerate(source.splitlines(), 1)
        if re.match(r"\s*except(:| \(?(Base)?Exception\b)", line) and not re.search(r"#.* \w+ \w+ \w+", line)
    ]
    assert found == []


@pytest.mark.parametrize("kind", ["SPEC"])
def test_every_integration_is_registered(kind: str) -> None:
    """Each module or package that offers a specification is named by the registry."""
    registry = (ROOT / "integrations" / "registry.py").read_text(encoding="utf-8")
    offered = set()
    for name, _ in _modules("integrations"):
        targets = [node for node in parsed(ROOT / name).body if isinstance(node, ast.Assign | ast.AnnAssign)]
        names = {
            getattr(t, "id", "") for node in targets for t in getattr(node, "targets", [getattr(node, "target", None)])
        }
        if kind in names and name != "integrations/registry.py":
            offered.add(name.split("/")[1].removesuffix(".py"))
    assert {"buildbot", "dingtalk", "generic", "slack"} <= offered
    assert [name for name in sorted(offered) if name not in registry] == []


def test_modules_stay_short_enough_to_be_read() -> None:
    """A module that outgrows 400 lines is two modules."""
    lengths = {name: source.count("\n") for name, source in _modules(*SHIPPED) if "/migrations/" not in name}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
