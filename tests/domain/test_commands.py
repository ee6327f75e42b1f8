"""Typed words become commands, or a clear no."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.commands import VERBS, CommandLine, Reference, Verb, parse_command, parse_reference
from bot.errors import CommandInvalid


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", CommandLine(Verb.HELP)),
        ("  ", CommandLine(Verb.HELP)),
        ("RETRY user-service#12", CommandLine(Verb.RETRY, ("user-service#12",))),
        ("/retry user-service#12", CommandLine(Verb.RETRY, ("user-service#12",))),
        ("rebuild buildbot/user-service#12@2", CommandLine(Verb.RETRY, ("buildbot/user-service#12@2",))),
        ("重试user-service#12", CommandLine(Verb.RETRY, ("user-service#12",))),
        ("/重试user-service#12", CommandLine(Verb.RETRY, ("user-service#12",))),
        ("重试 user-service＃12", CommandLine(Verb.RETRY, ("user-service#12",))),
        ("重试\u3000user-service＃12", CommandLine(Verb.RETRY, ("user-service#12",))),
        ("show nightly build#7", CommandLine(Verb.SHOW, ("nightly build#7",))),
        ("run user-service version=1 x=a=b", CommandLine(Verb.RUN, ("user-service", "version=1", "x=a=b"))),
        ("状态", CommandLine(Verb.STATUS)),
    ],
)
def test_words_that_are_commands(typed: str, line: CommandLine) -> None:
    """English, Chinese with and without blanks, full-width signs and a leading slash are all understood."""
    assert parse_command(typed) == line


@pytest.mark.parametrize(
    ("typed", "problem", "suggestion"),
    [
        ("retri user-service#1", "unknown_verb", "retry"),
        ("xyzzy", "unknown_verb", None),
        ("retry", "missing_argument", "retry <project>#<number>"),
        ("重试", "missing_argument", "retry <project>#<number>"),
        ("run", "missing_argument", "run <project> [name=value …]"),
        ("retry user-service", "malformed_reference", "user-service"),
        ("retry user-service 12", "malformed_reference", "user-service 12"),
        ("retry #12", "malformed_reference", "#12"),
        ("retry deployment:user-service#12", "malformed_reference", "deployment:user-service#12"),
        ("show user-service#12@x", "malformed_reference", "user-service#12@x"),
        ("status " + "x" * 600, "too_long", None),
    ],
)
def test_words_that_are_not(typed: str, problem: str, suggestion: str | None) -> None:
    """The reason is named, and the nearest right word with it."""
    with pytest.raises(CommandInvalid) as refused:
        parse_command(typed)
    assert (refused.value.problem, refused.value.suggestion) == (problem, suggestion)


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("user-service#12", Reference("user-service", "12")),
        ("buildbot/user-service#12", Reference("user-service", "12", "buildbot")),
        ("gitlab/group/app#12@3", Reference("group/app", "12", "gitlab", 3)),
        ("build:buildbot/user-service#12", Reference("user-service", "12", "buildbot", kind="build")),
        ("deployment:user-service#12", Reference("user-service", "12", kind="deployment")),
        ("用户服务#12", Reference("用户服务", "12")),
    ],
)
def test_references(word: str, reference: Reference) -> None:
    """A build is named with or without its source; a button adds the attempt."""
    assert parse_reference(word) == reference


@given(st.text(max_size=600))
def test_no_words_do_anything_but_parse_or_be_refused(typed: str) -> None:
    """Whatever is typed is a command or raises CommandInvalid, and a command's text reads as the same command."""
    try:
        line = parse_command(typed)
    except CommandInvalid:
        return
    if len(str(line)) <= 500:
        assert parse_command(str(line)) == line


def test_every_word_names_one_verb() -> None:
    """No spelling is claimed by two verbs, and what changes something needs a permission, most of its own name."""
    words = [word for spec in VERBS for word in (*spec.words, *spec.chinese)]
    assert len(words) == len(set(words))
    assert {spec.verb for spec in VERBS} == set(Verb)
    builds = {"retry", "cancel", "run", "subscribe", "mute"}
    deployments = {"deploy", "rollback", "confirm", "approve", "revoke", "reject", "lock", "unlock"}
    assert {spec.permission for spec in VERBS} == {"", *builds, *deployments}
