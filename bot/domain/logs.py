"""Which lines of a log tell most."""

from __future__ import annotations

import re
from collections.abc import Sequence

OPENING = 0.6

# Where a failure is reported: test tools, interpreters, compilers and CI systems; then lines that merely call
# themselves an error. Looked for at the start of a line, so that lists of passed and failed tests are passed over.
_STAMP = r"(?:\[?\d{4}-\d\d-\d\d[T ][\d:.,]+Z?\]?\s+)?"
_REPORT = re.compile(
    _STAMP
    + r"(?:(?:FAIL|ERROR): \S+ \(|={3,} (?:FAILURES|ERRORS) ={3,}|FAILED \S|\s*--- FAIL: |FAIL\s+\S+\.\w+|not ok \d"
    r"|Traceback \(most recent call last\):|panic: |fatal error: |Exception in thread |thread '[^']*' panicked at"
    r"|##\[error\]|::error[ :]|\[ERROR\] |npm (?:ERR!|error) |error(?:\[E\d+\])?: |make(?:\[\d+\])?: \*\*\* "
    r"|[^\s:]+:\d+(?::\d+)?: (?:fatal )?error: |[\w.$]+ > .+ FAILED$)"
)
_COMPLAINT = re.compile(
    _STAMP + r"\W{0,3}(?:(?:error|fatal|failure|panic)\b|failed\b|[\w.]+(?:Error|Exception): )", re.IGNORECASE
)
_RULE = re.compile(r"\s*[-=_*]{5,}\s*")


def telling_lines(lines: Sequence[str], most: int) -> list[str]:
    """At most `most` of the lines, from where the first failure is reported, with the line before it.

    Where they are too many, blank lines and rules go first; what is then left out before the ending is counted
    (`… +12`). Where no line reports a failure they are the last ones.
    """
    at = _first_failure(lines)
    if at is None:
        return list(lines[-most:])
    shown = list(lines[_with_line_before(lines, at) :])
    if len(shown) > most:
        shown = [line for line in shown if not _says_nothing(line)]
    if len(shown) > most:
        opening = round(most * OPENING)
        ending = most - 1 - opening
        shown = [*shown[:opening], f"… +{len(shown) - opening - ending}", *shown[len(shown) - ending :]]
    return shown


def _first_failure(lines: Sequence[str]) -> int | None:
    for marker in (_REPORT, _COMPLAINT):
        found = next((at for at, line in enumerate(lines) if marker.match(line)), None)
        if found is not None:
            return found
    return None


def _with_line_before(lines: Sequence[str], at: int) -> int:
    return at if at == 0 or _says_nothing(lines[at - 1]) else at - 1


def _says_nothing(line: str) -> bool:
    return not line.strip() or _RULE.fullmatch(line) is not None
