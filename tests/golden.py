"""Golden files: whole outputs kept as plain JSON beside the tests, and the recorded requests they come from.

`golden(path, value)` compares; `pytest --update-golden` rewrites, and is refused when CI is set. A full run fails when
a `*.golden.json` was asked for by no test. This module is a pytest plugin (`pytest_plugins = ["tests.golden"]`).
"""

from __future__ import annotations

import base64
import difflib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bot.domain.events import Event

PATTERN = "*.golden.json"
_OPTION = "--update-golden"


def dump(value: object) -> str:
    """The text of a golden: sorted keys, two spaces, UTF-8 as it is."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def load_request(path: Path) -> tuple[dict[str, str], bytes]:
    """Headers (names in lower case) and body of a recorded `<event>__<case>.http.json`."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    headers = {name.lower(): value for name, value in recorded["headers"].items()}
    if "body_base64" in recorded:
        return headers, base64.b64decode(recorded["body_base64"])
    return headers, recorded["body"].encode()


def event_json(event: Event) -> dict[str, Any]:
    """An event as a golden shows it; times as seconds since 1970."""
    return {
        "source": event.source,
        "delivery_key": event.delivery_key,
        "kind": event.kind.value,
        "subject": str(event.subject),
        "occurred_at": event.occurred_at.timestamp(),
        "phase": event.phase.name,
        "facts": event.facts.to_json(),
        "generation": event.generation,
        "attempt": event.attempt,
    }


class Goldens:
    """Which goldens this process asked for, and what stands in the way of calling the others orphans."""

    def __init__(self, *, updates: bool) -> None:
        self.updates = updates
        self.asked: set[str] = set()
        self.excused: set[str] = set()
        self.is_partial = False
        self.orphans: list[str] = []

    def check(self, path: Path, value: object) -> None:
        """Compare `value` with the golden at `path`; with --update-golden, write it."""
        path = path.resolve()
        self.asked.add(str(path))
        said = dump(value)
        if self.updates:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(said, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"there is no golden {path}: look at the output, then run pytest {_OPTION}\n{said}")
        kept = path.read_text(encoding="utf-8")
        if kept != said:
            lines = difflib.unified_diff(kept.splitlines(), said.splitlines(), "golden", "now", lineterm="")
            pytest.fail(f"{path} differs:\n" + "\n".join(lines), pytrace=False)

    def find_orphans(self, roots: Iterable[Path]) -> list[str]:
        """Goldens below `roots` that no test asked for, without those of folders in which a test was skipped."""
        names = sorted(str(path.resolve()) for root in roots for path in root.rglob(PATTERN))
        excused = tuple(f"{folder}{os.sep}" for folder in self.excused)
        return [name for name in names if name not in self.asked and not name.startswith(excused)]


_KEY = pytest.StashKey[Goldens]()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, object], None]:
    """Compare a value with the golden at a path."""
    return request.config.stash[_KEY].check


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden."""
    parser.addoption(_OPTION, action="store_true", help="rewrite the golden files from what the tests got")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to rewrite goldens where nobody would look at them."""
    updates = bool(config.getoption(_OPTION))
    if updates and os.environ.get("CI"):
        raise pytest.UsageError(f"{_OPTION} is refused when CI is set: goldens are looked at before they are kept")
    config.stash[_KEY] = Goldens(updates=updates)


def pytest_deselected(items: Iterable[pytest.Item]) -> None:
    """A run that leaves tests out cannot tell which goldens are orphans."""
    for item in items:
        item.config.stash[_KEY].is_partial = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Excuse the goldens beside a test that did not run to its end."""
    report: pytest.TestReport = yield
    if not report.passed:
        item.config.stash[_KEY].excused.add(str(item.path.parent.resolve()))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what an xdist worker knows; one that died leaves the run partial."""
    goldens: Goldens = node.config.stash[_KEY]
    output = getattr(node, "workeroutput", {})
    if error is not None or "goldens" not in output:
        goldens.is_partial = True
        return
    goldens.asked.update(output["goldens"]["asked"])
    goldens.excused.update(output["goldens"]["excused"])
    goldens.is_partial = goldens.is_partial or output["goldens"]["is_partial"]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker, hand over what was asked for; else fail a full and otherwise good run that has orphans."""
    config = session.config
    goldens = config.stash[_KEY]
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["goldens"] = {
            "asked": sorted(goldens.asked),
            "excused": sorted(goldens.excused),
            "is_partial": goldens.is_partial,
        }
        return
    if session.exitstatus != pytest.ExitCode.OK or goldens.is_partial or not _is_full(config):
        return
    goldens.orphans = goldens.find_orphans(config.rootpath / folder for folder in config.getini("testpaths"))
    if goldens.orphans:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the orphans."""
    goldens = config.stash[_KEY]
    if goldens.orphans:
        terminalreporter.section("golden files that no test asks for", red=True)
        for name in goldens.orphans:
            terminalreporter.line(name)


def _is_full(config: pytest.Config) -> bool:
    """Whether the whole of `testpaths` was asked for: no paths, no expressions, nothing ignored."""
    options = config.option
    narrowing = ("keyword", "markexpr", "lf", "last_failed", "stepwise", "ignore", "ignore_glob", "deselect")
    if options.collectonly or any(getattr(options, name, None) for name in narrowing):
        return False
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS
