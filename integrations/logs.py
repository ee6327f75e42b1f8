"""What a build's log says: the failed tests, and the lines worth showing. Pure; secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bot.domain.builds import FailedTest
from bot.domain.logs import telling_lines
from bot.telemetry import redact
from integrations.texts import clean_line, clean_text

EXCERPT_LINES = 20
MAX_EXCERPT = 3000
MAX_TESTS = 20
MAX_LINE = 500
MAX_NAME = 200
MAX_DETAIL = 300

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_ASSIGNMENT = re.compile(
    r"(?i)((?:secret|token|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"
    r"[\w-]{0,40}[\"']?\s{0,3}[=:]\s{0,3})(\"[^\"]+\"|'[^']+'|[^\s,;]+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_SHAPES = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bwhsec_[\w+/=]+")
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HINTS = ("secret", "token", "pass", "key", "credential", "bearer", "basic", "eyj", "akia", "asia", "whsec_")
_MASK = "[redacted]"

_UNITTEST = re.compile(r"(?:FAIL|ERROR): (?P<name>\S+) \((?P<where>[^()\s]+)\)(?P<sub> .+)?")
_PYTEST = re.compile(r"(?:FAILED|ERROR) (?P<name>\S+\.py(?:::[^\[]+?(?:\[.*?\])?)?)(?: - (?P<why>.*))?")
_SUREFIRE = re.compile(
    r"(?:\[ERROR\] +)?(?P<name>[\w.$\[\]]+)(?:\((?P<where>[\w.$]+)\))? +(?:-- +)?Time elapsed: .*<<< (?:FAILURE|ERROR)!"
)
_GRADLE = re.compile(r"(?P<where>[\w.$]+) > (?P<name>.+?) FAILED")
_GO = re.compile(r"\s*--- FAIL: (?P<name>\S+) \(\d+\.\d+s\)")
_RULE = re.compile(r"[-=]{20,}")
_CAUSE = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?")


def plain_lines(lines: Iterable[str]) -> list[str]:
    """The lines without colours and other terminal controls, each at most 500 characters."""
    return [_plain(line[: MAX_LINE * 4].rstrip()) for line in lines]


def _plain(line: str) -> str:
    if line.isprintable() and len(line) <= MAX_LINE:
        return line
    return clean_text(_ANSI.sub("", line), MAX_LINE)


def mask_secrets(text: str) -> str:
    """`text` with everything that looks like a secret, or is known to be one, replaced."""
    lowered = text.lower()
    if any(hint in lowered for hint in _HINTS):  # looking for words is ten times as fast as the expressions
        text = _KEY_BLOCK.sub(_MASK, text)
        text = _SHAPES.sub(_MASK, _SCHEME.sub(rf"\1 {_MASK}", text))
        text = _ASSIGNMENT.sub(rf"\1{_MASK}", text)
    return redact(text)


def tail(lines: Sequence[str], *, most: int, limit: int) -> str:
    """The last `most` of the lines (as `plain_lines` gives them) that fit `limit` characters, secrets masked."""
    return clean_text("\n".join(_masked(lines)[-most:]), limit)


def excerpt(lines: Sequence[str]) -> str:
    """What tells most (of lines as `plain_lines` gives them): at most 20 lines, 3,000 characters, secrets masked."""
    shown = telling_lines(_masked(lines), EXCERPT_LINES)
    text = "\n".join(shown)
    if len(text) > MAX_EXCERPT:
        text = "\n".join(clean_line(line, MAX_EXCERPT // EXCERPT_LINES - 1) for line in shown)
    return clean_text(text, MAX_EXCERPT)


def _masked(lines: Sequence[str]) -> list[str]:
    """The lines without secrets, which may span several, and without blank ones at the end."""
    return mask_secrets("\n".join(lines)).rstrip().split("\n")


def find_failed_tests(lines: Sequence[str]) -> tuple[FailedTest, ...]:
    """The failed tests that the lines name, at most 20: unittest, pytest, Maven Surefire, Gradle and Go are known."""
    found: dict[str, str] = {}
    for at, line in enumerate(lines):
        if len(found) >= MAX_TESTS:
            break
        name, why = _failure(lines, at, line)
        if name and not found.get(name):
            found[name] = why
    return tuple(
        FailedTest(mask_secrets(clean_line(name, MAX_NAME)), mask_secrets(clean_line(why, MAX_DETAIL)))
        for name, why in found.items()
    )


def _failure(lines: Sequence[str], at: int, line: str) -> tuple[str, str]:
    """Name and cause of the test whose failure a line reports; ("", "") for any other line."""
    if match := _UNITTEST.fullmatch(line):
        where, name = match["where"], match["name"]
        dotted = where if where.endswith(f".{name}") else f"{where}.{name}"
        return dotted + (match["sub"] or ""), _unittest_cause(lines, at)
    if match := _PYTEST.fullmatch(line):
        return match["name"], match["why"] or ""
    if match := _SUREFIRE.fullmatch(line):
        name = f"{match['where']}.{match['name']}" if match["where"] else match["name"]
        return name, _next_line(lines, at)
    if match := _GRADLE.fullmatch(line):
        return f"{match['where']}.{match['name']}", _next_line(lines, at)
    if match := _GO.fullmatch(line):
        following = _next_line(lines, at)
        return match["name"], "" if following.startswith(("---", "===")) else following
    return "", ""


def _unittest_cause(lines: Sequence[str], at: int) -> str:
    """The last line of the traceback below a heading that starts at column 0: `AssertionError: 1 != 2`."""
    cause, rules = "", 0
    for line in lines[at + 1 : at + 200]:
        if _RULE.fullmatch(line):
            rules += 1
            if rules > 1:
                break
        elif rules and _CAUSE.fullmatch(line):
            cause = line
    return cause


def _next_line(lines: Sequence[str], at: int) -> str:
    return lines[at + 1].strip() if at + 1 < len(lines) else ""
