"""Text that changes by itself: durations, times and ids, which tell nobody anything new while a build runs.

What is masked becomes the least of its kind (`14 s` and `1m 3s` become `0s`): a masked text is never longer. In doubt a
text counts: names, counts, shares, versions, issue keys, days, ports, numbers of builds (`#17`), and hashes of commits
and contents are as they are.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bot.domain.builds import Build

# Only ASCII makes a word here: Chinese stands beside numbers without a space.
_BEFORE, _AFTER = r"(?<![A-Za-z0-9_.,#+])", r"(?![A-Za-z0-9_])"
_SPACE = r"[ \u00a0\u202f]?"
_DAY = r"[0-9]{4}(?P<dash>[-/])[01][0-9](?P=dash)[0-3][0-9]"
_AFTER_CLOCK = r"(?![A-Za-z0-9_]|[:.,][0-9])"
_CLOCK = r"(?::[0-5][0-9]){1,2}(?:[.,][0-9]{1,9})?"
_HASHES = "|".join(f"[0-9a-fA-F]{{{digits}}}" for digits in (40, 64, 128))
_UNIT = (
    r"(?:(?:milliseconds?|millis|msecs?|[mµμun]s|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)(?![A-Za-z_])"
    r"|毫秒|微秒|秒钟?|分钟|分(?= ?[0-9]{1,2} ?秒)|小时)"
)
_LENGTH = rf"[0-9]{{1,9}}(?:,[0-9]{{3}})*(?:[.,][0-9]{{1,9}})?{_SPACE}{_UNIT}"
_KINDS = (
    ("2000-01-01T00:00", rf"{_DAY}[T ][0-2][0-9]{_CLOCK}(?: ?(?:Z|UTC|GMT|[+-][0-9]{{2}}:?[0-9]{{2}}))?{_AFTER_CLOCK}"),
    ("20000101T0000", rf"[0-9]{{8}}T[0-9]{{4}}(?:[0-9]{{2}})?Z?{_AFTER}"),
    ("0:00", rf"(?<![:/-])[0-9]{{1,3}}{_CLOCK}(?: ?[AaPp][Mm])?(?!:){_AFTER_CLOCK}"),
    ("0" * 8 + "-0000" * 3 + "-" + "0" * 12, rf"[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{_AFTER}"),
    ("0x000000", rf"0x[0-9a-fA-F]{{6,}}{_AFTER}"),
    (
        "0a" * 8,
        rf"(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])(?!(?:{_HASHES}){_AFTER})[0-9a-fA-F]{{16,}}{_AFTER}",
    ),
    # Seconds since 1970, or their thousandths, millionths or billionths; of the years 2017 to 2033.
    ("1500000000", r"(?<![0-9]-)1[5-9][0-9]{8}(?:[0-9]{3}){0,3}(?:\.[0-9]{1,9})?(?![A-Za-z0-9_]|\.[0-9])"),
    ("0s", rf"(?<!-)(?:<{_SPACE})?{_LENGTH}(?:,? ?(?:and )?{_LENGTH})*{_AFTER}"),
)
_LEAST = tuple(least for least, _ in _KINDS)
_VOLATILE = re.compile(_BEFORE + "(?:" + "|".join(f"(?P<k{at}>{kind})" for at, (_, kind) in enumerate(_KINDS)) + ")")
_QUERY = re.compile(
    r"(?P<name>[?&](?:run|run_?id|trace|trace_?id|span_?id|session|session_?id|request_?id|correlation_?id|nonce|t|ts"
    r"|time|timestamp|_|expires|sig|signature|x-amz-[a-z-]+)=)[^&#\s]+",
    re.IGNORECASE,
)


def without_volatile(text: str) -> str:
    """The text with each duration, time and id in it masked; equal for texts that differ in nothing else."""
    return _VOLATILE.sub(_least, text)


def without_volatile_query(url: str) -> str:
    """An address, whose query may name a run, a moment or a signature as well."""
    return without_volatile(_QUERY.sub(r"\g<name>0", url))


def steady(build: Build) -> Build:
    """The build without what changes by itself in the texts of others; how it and its stages stand is as it was."""
    facts = build.facts
    stages, tests = facts.stages, facts.failed_tests
    if stages is not None:
        stages = tuple(
            replace(one, name=without_volatile(one.name), duration_s=None if one.duration_s is None else 0.0)
            for one in stages
        )
    if tests is not None:
        tests = tuple(replace(one, detail=without_volatile(one.detail)) for one in tests)
    return replace(
        build,
        facts=replace(
            facts,
            commit_title=_masked(facts.commit_title),
            url=None if facts.url is None else without_volatile_query(facts.url),
            summary=_masked(facts.summary),
            stages=stages,
            failed_tests=tests,
            log_excerpt=_masked(facts.log_excerpt),
        ),
    )


def _masked(text: str | None) -> str | None:
    return None if text is None else without_volatile(text)


def _least(found: re.Match[str]) -> str:
    return _LEAST[int((found.lastgroup or "k0")[1:])]
