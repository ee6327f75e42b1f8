"""What is read out of a build's log."""

from __future__ import annotations

import json
import time

import pytest

from bot.domain.builds import FailedTest
from integrations.logs import excerpt, find_failed_tests, mask_secrets, plain_lines, tail

UNITTEST = """
test_name (tests.test_profiles.ProfileTest.test_name) ... FAIL
======================================================================
ERROR: test_jpeg (tests.test_avatars.AvatarTest.test_jpeg)
A picture is taken.
----------------------------------------------------------------------
Traceback (most recent call last):
  File "avatars.py", line 11, in accept
    return FORMATS[content[:4]]
           ~~~~~~~^^^^^^^^^^^^^
KeyError: b'hell'

======================================================================
FAIL: test_name (tests.test_profiles.ProfileTest) (case='ada')
----------------------------------------------------------------------
Traceback (most recent call last):
AssertionError: None != 'Ada'

----------------------------------------------------------------------
Ran 2 tests in 0.003s

FAILED (failures=1, errors=1)
"""

PYTEST = """
tests/test_a.py::test_one FAILED                                         [ 50%]
=========================== short test summary info ============================
FAILED tests/test_a.py::test_one[a - b] - assert 1 == 2
FAILED tests/test_a.py::test_two[x] - assert [1] == [2]
ERROR tests/test_b.py - ModuleNotFoundError: No module named 'x'
"""

SUREFIRE = """
[ERROR] Tests run: 3, Failures: 2, Errors: 0, Skipped: 0, Time elapsed: 0.05 s <<< FAILURE! - in com.example.UserTest
[ERROR] testName(com.example.UserTest)  Time elapsed: 0.01 s  <<< FAILURE!
org.junit.ComparisonFailure: expected:<[a]> but was:<[b]>
[ERROR] com.example.UserTest.testAge -- Time elapsed: 0.002 s <<< ERROR!
java.lang.NullPointerException
"""

GRADLE = """
UserTest > testName() FAILED
    org.opentest4j.AssertionFailedError at UserTest.java:12
"""

GO = """
=== RUN   TestSum
--- FAIL: TestSum (0.00s)
    sum_test.go:9: 1 + 1 = 3
    --- FAIL: TestSum/negative (0.00s)
FAIL
"""


@pytest.mark.parametrize(
    ("log", "tests"),
    [
        (
            UNITTEST,
            [
                FailedTest("tests.test_avatars.AvatarTest.test_jpeg", "KeyError: b'hell'"),
                FailedTest("tests.test_profiles.ProfileTest.test_name (case='ada')", "AssertionError: None != 'Ada'"),
            ],
        ),
        (
            PYTEST,
            [
                FailedTest("tests/test_a.py::test_one[a - b]", "assert 1 == 2"),
                FailedTest("tests/test_a.py::test_two[x]", "assert [1] == [2]"),
                FailedTest("tests/test_b.py", "ModuleNotFoundError: No module named 'x'"),
            ],
        ),
        (
            SUREFIRE,
            [
                FailedTest(
                    "com.example.UserTest.testName", "org.junit.ComparisonFailure: expected:<[a]> but was:<[b]>"
                ),
                FailedTest("com.example.UserTest.testAge", "java.lang.NullPointerException"),
            ],
        ),
        (GRADLE, [FailedTest("UserTest.testName()", "org.opentest4j.AssertionFailedError at UserTest.java:12")]),
        (GO, [FailedTest("TestSum", "sum_test.go:9: 1 + 1 = 3"), FailedTest("TestSum/negative", "FAIL")]),
        ("all is well\nFAILED to be funny\nERROR: disk\nFAIL\n", []),
    ],
    ids=["unittest", "pytest", "surefire", "gradle", "go", "none"],
)
def test_failed_tests_are_found(log: str, tests: list[FailedTest]) -> None:
    """Each test tool's way to name a failure is understood, with the cause where it stands nearby."""
    assert list(find_failed_tests(plain_lines(log.split("\n")))) == tests


def test_a_test_named_twice_is_listed_once_and_at_most_twenty_are() -> None:
    """A run that fails everywhere stays readable."""
    lines = [f"FAILED tests/test_a.py::test_{n % 30}" for n in range(60)]
    found = find_failed_tests(lines)
    assert len(found) == 20
    assert len({test.name for test in found}) == 20


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("export API_TOKEN=abc123def", "abc123def"),
        ("password: hunter2", "hunter2"),
        ('{"client_secret": "s3cr3t value"}', "s3cr3t value"),
        ("db_passwd = 'it is here'", "it is here"),
        ("Authorization: Bearer abcdefghijkl", "abcdefghijkl"),
        ("curl -u x https://bob:pa55word@example.com", "pa55word"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef", "eyJzdWIiOiIxIn0"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("xoxb-1234-abcd", "xoxb-1234-abcd"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "MIIE"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, secret: str) -> None:
    """A log shown in a channel does not hand out credentials."""
    masked = mask_secrets(text)
    assert secret not in masked
    assert "[redacted]" in masked


def test_ordinary_lines_are_left_alone() -> None:
    """Masking does not eat what people need to read."""
    text = "AssertionError: None != 'Ada'\nkeyboard works\nfile tokens.py, line 3\nRan 6 tests in 0.002s"
    assert mask_secrets(text) == text


def test_the_tail_is_the_end_of_the_log() -> None:
    """The last lines are kept, blank ones after them dropped, and the whole is bounded."""
    lines = [f"line {n}" for n in range(100)] + ["", " "]
    assert tail(lines, most=20, limit=3000).splitlines() == [f"line {n}" for n in range(80, 100)]
    assert tail(lines, most=2, limit=3000) == "line 98\nline 99"
    assert len(tail(["x" * 400] * 50, most=20, limit=3000)) == 3000
    assert tail([], most=20, limit=3000) == ""


def test_the_excerpt_begins_at_the_failure_and_is_bounded() -> None:
    """What passed before is left out, and long lines are cut rather than the failure or the ending."""
    passed = [f"test_{n} (tests.test_a.ATest.test_{n}) ... ok" for n in range(40)]
    shown = excerpt([*passed, *UNITTEST.splitlines()]).splitlines()
    assert shown[0] == "ERROR: test_jpeg (tests.test_avatars.AvatarTest.test_jpeg)"
    assert shown[-1] == "FAILED (failures=1, errors=1)"
    wide = excerpt(["FAIL: test_a (tests.ATest.test_a)", *["x" * 400] * 50, "FAILED (failures=1)"])
    assert len(wide) <= 3000
    assert wide.startswith("FAIL: test_a")
    assert wide.endswith("FAILED (failures=1)")
    assert excerpt([]) == ""


def test_a_key_cut_by_the_excerpt_is_masked_all_the_same() -> None:
    """Secrets that span lines are masked before lines are chosen."""
    key = ["-----BEGIN PRIVATE KEY-----", *["MIIEsecret"] * 40, "-----END PRIVATE KEY-----"]
    assert "MIIEsecret" not in excerpt([*key, "done"])
    assert "MIIEsecret" not in tail([*key, "done"], most=20, limit=3000)


def test_hostile_lines_are_harmless_and_quick() -> None:
    """Megabytes of escapes, dashes and half characters neither hang nor break what stores them."""
    hostile = [
        "a-" * 50_000,
        "\x1b[" * 50_000,
        "token" * 20_000,
        "FAIL: " + "x (" * 30_000,
        "\ud800\x00\u202e",
        "passw=" * 9000,
    ]
    began = time.thread_time()
    lines = plain_lines(hostile * 200)
    shown = tail(lines, most=1500, limit=20_000) + excerpt(lines)
    tests = find_failed_tests(lines)
    assert time.thread_time() - began < 5.0
    json.dumps([shown, [test.name for test in tests]], ensure_ascii=False).encode()
    assert "\x00" not in shown
    assert max(len(line) for line in lines) <= 500
