"""What people type about deployments, in English and Chinese, as what they mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from unicodedata import category

from bot.errors import CommandInvalid

LATEST = "latest"
MAX_REASON = 300  # characters
_LATEST_WORDS = ("latest green", "latest", "最新")
_TO = frozenset({"to", "into", "到", "至"})
_IN = frozenset({"in", "at", "在"})
_BETWEEN = _TO | _IN | {"from", "and", "从", "和"}
_BECAUSE = frozenset({"because", "reason", "因为", "原因"})
_COMMAS = re.compile("[,，、]")
_GLUED = re.compile("(因为|原因)[:：,，]?(.+)")
_BREAK_GLASS = frozenset({"break-glass", "紧急"})
_NUMBER = re.compile(r"(?:deployment:)?(?:shipmate/)?(?:(?P<service>[^#\s]*)#)?(?P<number>\d{1,12})")
DEPLOY_USAGE = "deploy <service> <version> to <environment> [because <reason>]"
PROMOTE_USAGE = "promote <service> to <environment>"
ROLLBACK_USAGE = "rollback <service>[#<number>] [in <environment>] [to <version>]"
UNLOCK_USAGE = "unlock <service> [in <environment>]"
KEEP_USAGE = "keep <service>#<number> [checks] [because <reason>]"
CHART_USAGE = "chart <service>[#<number>] [check]"
WHATS_IN_USAGE = "whats-in <service> <environment or version> [version or environment]"
LOCK_USAGE = "lock <service> [in <environment>] because <reason>"


@dataclass(frozen=True, slots=True)
class DeployLine:
    """`deploy` and `promote`: `version` is empty for what the environment before has, `LATEST` for the newest."""

    service: str
    version: str
    environment: str
    reason: str = ""
    is_break_glass: bool = False


@dataclass(frozen=True, slots=True)
class PlaceLine:
    """`rollback`, `lock`, `unlock`: a service, and what was said beyond it."""

    service: str
    environment: str = ""
    version: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SpanLine:
    """`whats-in`: a service and what is compared, each a version, an environment, or `LATEST`.

    `new` is empty where an environment alone was said, `old` where not even that was.
    """

    service: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class NumberLine:
    """What is said about one deployment; `service` is empty where its number alone was typed."""

    number: int
    service: str = ""
    reason: str = ""


def parse_deploy(words: Sequence[str]) -> DeployLine:
    """`user-service v2 to production break-glass because the shop is down`."""
    rest, reason = _reason(words)
    is_break_glass = any(word.lower() in _BREAK_GLASS for word in rest)
    rest = [word for word in rest if word.lower() not in _BREAK_GLASS]
    at = _index(rest, _TO)
    if at is None or at < 2 or len(rest) - at != 2:
        raise CommandInvalid("missing_argument", DEPLOY_USAGE)
    version = " ".join(rest[1:at])
    if version.lower() in _LATEST_WORDS:
        version = LATEST
    if " " in version:
        raise CommandInvalid("missing_argument", DEPLOY_USAGE)
    return DeployLine(rest[0], version, rest[at + 1], reason, is_break_glass)


def parse_promote(words: Sequence[str]) -> DeployLine:
    """`user-service to production`: the version that the environment before has."""
    rest, reason = _reason(words)
    if len(rest) != 3 or rest[1].lower() not in _TO:
        raise CommandInvalid("missing_argument", PROMOTE_USAGE)
    return DeployLine(rest[0], "", rest[2], reason)


def parse_place(words: Sequence[str], usage: str) -> PlaceLine:
    """`user-service [in production] [to v1] [because …]`, the environment also without `in`."""
    rest, reason = _reason(words)
    version = ""
    at = _index(rest, _TO)
    if at is not None:
        if len(rest) - at != 2:
            raise CommandInvalid("missing_argument", usage)
        version, rest = rest[at + 1], rest[:at]
    rest = [word for word in rest if word.lower() not in _IN]
    if not 1 <= len(rest) <= 2:
        raise CommandInvalid("missing_argument", usage)
    return PlaceLine(rest[0], rest[1] if len(rest) == 2 else "", version, reason)


def parse_span(words: Sequence[str]) -> SpanLine:
    """`user-service production`, `user-service v1 to v2`, `user-service from production to latest green`."""
    rest = [word for word in words if word.lower() not in _BETWEEN]
    if " ".join(rest[-2:]).lower() in _LATEST_WORDS:
        rest[-2:] = [LATEST]
    if not 1 <= len(rest) <= 3:
        raise CommandInvalid("missing_argument", WHATS_IN_USAGE)
    ends = [LATEST if word.lower() in _LATEST_WORDS else word for word in rest[1:]]
    return SpanLine(rest[0], *ends)


def parse_rollback(words: Sequence[str]) -> tuple[PlaceLine, int]:
    """`user-service#17 in production [to v1]`: as `parse_place`, and which deployment is meant, 0 for the last one."""
    asked = parse_place(words, ROLLBACK_USAGE)
    if not asked.service.partition("#")[2]:
        return asked, 0
    named = parse_number([asked.service], ROLLBACK_USAGE)
    return replace(asked, service=named.service), named.number


def parse_number(words: Sequence[str], usage: str) -> NumberLine:
    """`user-service#17 [reason …]`, `#17`, `17`; CommandInvalid for a number that is a part of another word."""
    if not words:
        raise CommandInvalid("missing_argument", usage)
    found = _NUMBER.fullmatch(words[0])
    if found is None:
        raise CommandInvalid("malformed_deployment", words[0][:80])
    rest = _apart(words[1:])
    if rest and rest[0].lower() in _BECAUSE:
        del rest[0]
    return NumberLine(int(found["number"]), found["service"] or "", " ".join(rest)[:MAX_REASON])


def parse_checks(words: Sequence[str], known: Collection[str]) -> tuple[tuple[str, ...], str]:
    """The checks that an answer names, and its reason behind them; empty where it names none.

    CommandInvalid for any other word, lest one that is misspelt speaks for all checks.
    """
    rest, reason = _reason(words)
    named = [name for word in rest for name in _COMMAS.split(word) if name]
    if not set(named) <= set(known):
        raise CommandInvalid("none_of_its_checks", ", ".join(known) or None)
    return tuple(named), reason


def parse_chart(words: Sequence[str]) -> tuple[NumberLine | str, str]:
    """`user-service#17 errors`, `#17`, `user-service errors`: a deployment or a service, and the check."""
    if not words or len(words) > 2:
        raise CommandInvalid("missing_argument", CHART_USAGE)
    check = words[1] if len(words) == 2 else ""
    return (parse_number(words[:1], CHART_USAGE) if "#" in words[0] else words[0]), check


def seen(word: str) -> str:
    """A word without what nobody sees: those who approve it go by what they see."""
    return "".join(sign for sign in word if category(sign) not in ("Cc", "Cf"))


def _reason(words: Sequence[str]) -> tuple[list[str], str]:
    apart = _apart(words)
    at = _index(apart, _BECAUSE)
    if at is None:
        return apart, ""
    reason = " ".join(apart[at + 1 :])[:MAX_REASON]
    return apart[:at], reason if seen(reason).strip() else ""


def _apart(words: Sequence[str]) -> list[str]:
    """The words with the first Chinese word for a reason on its own: what follows it is written without a space."""
    for at, word in enumerate(words):
        if word.lower() in _BECAUSE:
            break
        if found := _GLUED.fullmatch(word):
            return [*words[:at], *found.groups(), *words[at + 1 :]]
    return list(words)


def _index(words: Sequence[str], known: frozenset[str]) -> int | None:
    return next((at for at, word in enumerate(words) if word.lower() in known), None)
