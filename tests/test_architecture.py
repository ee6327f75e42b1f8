"""Rules of the house that no tool checks by itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")} | {
    ("time", name) for name in ("time", "time_ns", "sleep")
}
ID_MAKERS = {("uuid", "uuid1"), ("uuid", "uuid4"), ("secrets", "token_hex"), ("secrets", "token_urlsafe")} | {
    ("secrets", "randbits"),
    ("secrets", "token_bytes"),
}
READS_THE_CLOCK = {"bot/system.py"}
FOLDERS = ("bot/domain", "bot/services", "bot/ports", "bot/storage", "handlers")
MAX_LINES = 400


def _modules(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def _calls(source: str) -> Iterator[tuple[tuple[str, str], int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            yield (name, node.func.attr), node.lineno


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
        for name, source in _modules(*FOLDERS)
        for call, line in _calls(source)
        if call in CLOCKS | ID_MAKERS and name not in READS_THE_CLOCK
    ]
    assert found == []


@pytest.mark.parametrize("kind", ["SPEC"])
def test_every_integration_is_registered(kind: str) -> None:
    """Each module or package that offers a specification is named by the registry."""
    registry = (ROOT / "integrations" / "registry.py").read_text(encoding="utf-8")
    offered = set()
    for name, source in _modules("integrations"):
        targets = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
        names = {
            getattr(t, "id", "") for node in targets for t in getattr(node, "targets", [getattr(node, "target", None)])
        }
        if kind in names and name != "integrations/registry.py":
            offered.add(name.split("/")[1].removesuffix(".py"))
    assert {"buildbot", "dingtalk", "generic", "slack"} <= offered
    assert [name for name in sorted(offered) if name not in registry] == []


def test_modules_stay_short_enough_to_be_read() -> None:
    """A module that outgrows 400 lines is two modules."""
    folders = ("bot", "handlers", "integrations", "playground")
    lengths = {name: source.count("\n") for name, source in _modules(*folders) if "/migrations/" not in name}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
