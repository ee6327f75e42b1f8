"""What people are told when something is not there, in their language."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.errors import (
    AuthFailed,
    DestinationGone,
    IntegrationError,
    NotPermitted,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from bot.services.presenters.replies import GONE, mistake, refusal_words, trouble, usage_of
from tests.sources import parsed

BUILDBOT = Path(__file__).parent.parent.parent / "integrations" / "buildbot"
INTERNAL = {"not_found"}  # replaced by a word of its own before it gets out


def _reasons() -> Iterator[str]:
    """The words with which Buildbot's integration says that something is gone."""
    for path in BUILDBOT.glob("*.py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DestinationGone":
                reason = node.args[1]
                if isinstance(reason, ast.Constant):
                    yield str(reason.value)


def _said(problem: IntegrationError, locale: str) -> str:
    return "".join(getattr(part, "text", "") for part in trouble(problem, locale).body)


def test_everything_that_can_be_gone_has_its_sentence() -> None:
    """A builder, a build, a project, a request: each is named, in words of its own."""
    assert set(_reasons()) - set(GONE) == INTERNAL
    assert len(set(GONE.values())) == len(GONE)


@pytest.mark.parametrize("reason", GONE)
def test_a_sentence_is_there_in_both_languages(reason: str) -> None:
    """The reader's language, and the system's name where it is part of it."""
    english, chinese = (_said(DestinationGone("buildbot", reason), locale) for locale in ("en", "zh-CN"))
    assert english != chinese
    assert reason not in english + chinese
    assert not any(brace in english + chinese for brace in "{}")


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (AuthFailed("buildbot", "http_401"), "refuses my credentials"),
        (Rejected("buildbot", "http_400", "no such branch"), "buildbot refuses: no such branch."),
        (Unavailable("buildbot", "unreachable"), "cannot be reached"),
        (OutcomeUnknown("buildbot", "no_answer"), "cannot be reached"),
        (DestinationGone("buildbot", "something_new"), "has no such thing"),
    ],
)
def test_each_kind_of_trouble_is_told_apart(problem: IntegrationError, words: str) -> None:
    """What to do about it differs, and so do the words."""
    assert words in _said(problem, "en")
    assert _said(problem, "en") != _said(problem, "zh-CN")


def test_a_mistake_of_ours_says_whether_something_may_have_happened() -> None:
    """Only where something may have been started is the person asked to look."""
    said = {is_in_doubt: str(mistake("en", is_in_doubt=is_in_doubt).body) for is_in_doubt in (True, False)}
    assert "look at the build" in said[True]
    assert "nothing was done" in said[False]


def test_usages_are_told_in_the_words_of_the_reader() -> None:
    """Verbs and the small words between their arguments; what stands in angle brackets is the reader's to fill in."""
    usage = "lock <service> [in <environment>] because <reason>"
    assert usage_of(usage, "en") == usage
    assert usage_of(usage, "zh-CN") == "锁定 <service> [在 <environment>] 因为 <reason>"


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ((), "No role does"),
        (("release",), "the role release"),
        (("release", "sre"), "one of the roles release, sre"),
    ],
)
def test_a_refusal_names_the_roles_that_may(roles: tuple[str, ...], words: str) -> None:
    """In both languages, whoever asks has another role or none."""
    for reason in ("no_role", "not_granted"):
        assert words in refusal_words(NotPermitted(reason, roles), "en")
        assert all(role in refusal_words(NotPermitted(reason, roles), "zh-CN") for role in roles)


def test_people_from_outside_are_told_of_no_role() -> None:
    """What the organisation calls its roles is nothing for them."""
    assert "release" not in refusal_words(NotPermitted("outsider", ("release",)), "en")
