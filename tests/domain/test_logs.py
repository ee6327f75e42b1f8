"""Which lines of a log are shown."""

from __future__ import annotations

import time

import pytest

from bot.domain.logs import telling_lines

PASSED = [f"test_{n} (tests.test_a.ATest.test_{n}) ... ok" for n in range(6)]
FAIL = "FAIL: test_name (tests.test_profiles.ProfileTest.test_name)"


def test_without_a_failure_the_end_is_shown() -> None:
    """Where nothing tells what went wrong, the last lines are as good as any."""
    lines = [f"line {n}" for n in range(100)]
    assert telling_lines(lines, 20) == lines[80:]
    assert telling_lines([], 20) == []


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        ([*PASSED, "", "=" * 70, FAIL], FAIL),
        (["tests/test_a.py::test_one FAILED [ 50%]", "a.py::two PASSED", "=== FAILURES ==="], "a.py::two PASSED"),
        (["ok 1 - starts", "ok 2 - stops", "not ok 3 - restarts"], "ok 2 - stops"),
        (["compiling", "gcc -c main.c", "main.c:3:5: error: expected ';'", "make: *** [all] Error 1"], "gcc -c main.c"),
        (["== RUN", "", "panic: index out of range", "goroutine 1"], "panic: index out of range"),
        (
            ["start", "2026-11-21T04:07:52.1Z make", "2026-11-21T04:07:53Z ##[error]exit 1"],
            "2026-11-21T04:07:52.1Z make",
        ),
        (["loading", "start server", "Traceback (most recent call last):", "KeyError: 'x'"], "start server"),
        (["a", "b", "UserTest > testName() FAILED", "    at UserTest.java:12"], "b"),
        (["npm install", "npm ERR! code E404"], "npm install"),
        (["one", "two", "Error: disk full"], "two"),
        (["one", "an error: not at the start", "com.example.FooException: no"], "an error: not at the start"),
    ],
    ids=["unittest", "pytest", "tap", "compiler", "go", "ci", "traceback", "gradle", "npm", "complaint", "exception"],
)
def test_the_lines_begin_at_the_failure(lines: list[str], first: str) -> None:
    """What went well before is left out, but for one line that says what was being done."""
    assert telling_lines(lines, 20) == lines[lines.index(first) :]


def test_a_report_outranks_what_merely_calls_itself_an_error() -> None:
    """A program's own log may speak of errors that a test expects; the test's failure is what counts."""
    lines = ["ERROR the server said no, as it should", *PASSED, FAIL, "AssertionError: 1"]
    assert telling_lines(lines, 20) == lines[-3:]


def test_blank_lines_and_rules_make_room_first() -> None:
    """On a card's few lines the whole of a small failure can be read."""
    body = ["Traceback (most recent call last):", '  File "a.py", line 1', "AssertionError: 1"]
    lines = [
        *PASSED,
        "",
        "=" * 70,
        FAIL,
        "-" * 70,
        *body,
        "",
        "-" * 70,
        "Ran 6 tests in 0.002s",
        "",
        "FAILED (failures=1)",
    ]
    assert telling_lines(lines, 8) == [FAIL, *body, "Ran 6 tests in 0.002s", "FAILED (failures=1)"]


@pytest.mark.parametrize("most", [5, 8, 20])
def test_a_long_failure_shows_how_it_begins_and_how_it_ends(most: int) -> None:
    """Between both it is counted what is left out."""
    lines = [FAIL, *[f"line {n}" for n in range(50)], "FAILED (failures=1)"]
    shown = telling_lines(lines, most)
    assert len(shown) == most
    gap = next(at for at, line in enumerate(shown) if line.startswith("… +"))
    assert shown[:gap] == lines[:gap]
    assert shown[gap + 1 :] == lines[gap + 1 - most :]
    assert shown[gap] == f"… +{len(lines) - (most - 1)}"


def test_hostile_lines_take_no_time() -> None:
    """Lines made to confuse the expressions are as quick as others."""
    hostile = [
        "[2026-11-21T" + "1:" * 240,
        "a:" * 250,
        "=" * 500,
        "FAIL" + " " * 490,
        "x.y" * 160 + " > " * 5,
        "\\W!" * 150,
    ]
    began = time.thread_time()
    assert len(telling_lines(hostile * 300, 20)) == 20
    assert time.thread_time() - began < 5.0
