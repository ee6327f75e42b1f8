"""The golden tool itself: it compares, rewrites only where somebody looks, and finds orphans."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what is installed beside it takes seconds to load
CONFIGURATION = """
[tool.pytest.ini_options]
testpaths = ["checks"]
addopts = "-q --import-mode=importlib -p no:cacheprovider"
"""
TESTS = """
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.mark.parametrize("name", ["one", "two"])
def test_value(golden, name):
    golden(HERE / f"{name}.golden.json", {"名": name})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two goldens and the tests that ask for them."""
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION)
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.golden"]\n')
    (folder / "test_value.py").write_text(TESTS, encoding="utf-8")
    for name in ("one", "two"):
        (folder / f"{name}.golden.json").write_text(f'{{\n  "名": "{name}"\n}}\n', encoding="utf-8")
    return tmp_path


def run(project: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run pytest there; its exit status and output."""
    inherited = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=project,
        env={**inherited, **ALONE, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "xdist"])
def test_a_full_run_fails_on_an_orphan(project: Path, workers: tuple[str, ...]) -> None:
    """A golden that no test asks for is named, also when the tests ran in several processes."""
    assert run(project, *workers)[0] == 0
    (project / "checks" / "old.golden.json").write_text("{}\n")
    status, output = run(project, *workers)
    assert status == 1
    assert "old.golden.json" in output
    assert "one.golden.json" not in output


@pytest.mark.parametrize("narrowed", [("-k", "one"), ("checks/test_value.py",), ("--deselect", "checks/test_value.py")])
def test_a_partial_run_looks_for_no_orphans(project: Path, narrowed: tuple[str, ...]) -> None:
    """Somebody who runs one test is not told about the others' goldens."""
    status, output = run(project, *narrowed)
    assert status in (0, 5)
    assert "no test asks for" not in output


def test_goldens_of_skipped_tests_are_no_orphans(project: Path) -> None:
    """Where a server is not installed, its tests' goldens are left in peace."""
    folder = project / "checks" / "elsewhere"
    folder.mkdir()
    (folder / "test_skipped.py").write_text("import pytest\n\ndef test_it(golden):\n    pytest.skip('no server')\n")
    (folder / "three.golden.json").write_text("{}\n")
    assert run(project)[0] == 0


def test_a_difference_is_shown_and_update_takes_it_over(project: Path) -> None:
    """The failing test shows what changed; --update-golden writes it down, readable, unless CI is set."""
    kept = project / "checks" / "one.golden.json"
    kept.write_text('{\n  "名": "eins"\n}\n', encoding="utf-8")
    status, output = run(project)
    assert status == 1
    assert '-  "名": "eins"' in output
    assert '+  "名": "one"' in output
    refused, words = run(project, "--update-golden", CI="true")
    assert refused == 4
    assert "refused when CI is set" in words
    assert "eins" in kept.read_text(encoding="utf-8")
    assert run(project, "--update-golden")[0] == 0
    assert kept.read_text(encoding="utf-8") == '{\n  "名": "one"\n}\n'
