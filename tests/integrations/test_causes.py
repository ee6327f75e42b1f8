"""Whatever a chat platform's integration gives as a reason has its cause in words, and its name among the metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.retries import OF_CONTENT
from bot.errors import Rejected
from bot.services.presenters.causes import CAUSES, advice_words, cause_words, label_of
from integrations.slack.errors import REASONS
from tests.sources import parsed

INTEGRATIONS = Path(__file__).parent.parent.parent / "integrations"
ERRORS = {"Unavailable", "OutcomeUnknown", "AuthFailed", "DestinationGone", "Rejected"}
NO_PLATFORM = {"probes.py"}  # they show no card
# Windows that people asked for and did not wait for: no card is ever given up for these.
ELSEWHERE = {"expired_trigger", "exchanged_trigger"}


def _reasons(path: Path) -> Iterator[str]:
    """Literal reasons: in calls that make an error, and in tables of a class and a word."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and len(node.args) > 1:
            given = node.args[1]
            words = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
        elif isinstance(node, ast.Tuple) and getattr(node.elts[0] if node.elts else None, "id", "") in ERRORS:
            words = node.elts[1:2]
        else:
            continue
        for word in words:
            if isinstance(word, ast.Constant) and isinstance(word.value, str):
                yield word.value


def _all_reasons() -> set[str]:
    shared = [path for path in INTEGRATIONS.glob("*.py") if path.name not in NO_PLATFORM]
    paths = [*shared, *INTEGRATIONS.glob("slack/*.py"), *INTEGRATIONS.glob("dingtalk/*.py")]
    return {reason for path in paths for reason in _reasons(path)} | set(REASONS)


def test_every_reason_of_a_platform_has_its_cause() -> None:
    """None is counted as `other`, or told of in words that fit all."""
    found = _all_reasons()
    assert {"not_in_channel", "robot_stopped", "unreachable", "msg_too_long"} <= found
    assert {reason for reason in found - ELSEWHERE if label_of(reason) != reason} == set()


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.reasons.split()[0])
def test_a_cause_is_told_in_both_languages(cause: object) -> None:
    """What it means, and what to do."""
    reason = cause.reasons.split()[0]  # type: ignore[attr-defined]  # a Cause
    for words in (cause_words, advice_words):
        english, chinese = words(reason, "en"), words(reason, "zh-CN")
        assert english != chinese
        assert english.endswith(".")


def test_a_reason_belongs_to_one_cause() -> None:
    """Whoever reads the table twice finds the same."""
    named = [reason for cause in CAUSES for reason in cause.reasons.split()]
    assert len(named) == len(set(named))


def test_what_is_tried_once_more_for_its_end_is_known() -> None:
    """Only reasons that occur are named as the content's, and none of a place that is gone, forbids or lacks rights."""
    of_statuses = {"http_400", "http_413"}
    assert _all_reasons() | of_statuses | {"render_failed"} >= OF_CONTENT
    for word in OF_CONTENT:
        assert REASONS.get(word, Rejected) is Rejected
