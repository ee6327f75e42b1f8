"""What windows show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.cards import Card, Paragraph, Plain, Tone
from bot.domain.commands import Actor, CommandLine, ReplyTo
from bot.domain.places import DestinationSettings
from bot.errors import (
    CommandInvalid,
    DestinationGone,
    IntegrationError,
    NotPermitted,
    ShipmateError,
    StorageUnavailable,
    Unavailable,
)
from bot.ports import PersonFacts
from bot.services.people import People
from bot.services.views import Views

SHOW = "show user-service#12"
ALICE = Actor("slack:U1", "alice", team="T1")
CI, ELSEWHERE = ReplyTo("slack", "slack:T1/C1"), ReplyTo("slack", "slack:T1/U1")


class FakeReading:
    """Cards named after the line; raises what it is told to."""

    def __init__(self) -> None:
        self.problem: ShipmateError | None = None

    def settings_of(self, place: str) -> DestinationSettings | None:
        """One place is configured."""
        return {CI.place: DestinationSettings("ci", "slack:#ci", "zh-CN", "Asia/Shanghai")}.get(place)

    def loading(self, line: CommandLine, locale: str) -> Card:
        """What is known."""
        return Card(Tone.RUNNING, f"loading {line}", locale=locale)

    def details(self, line: CommandLine, locale: str, timezone: str) -> Card:
        """What the source tells."""
        if self.problem:
            raise self.problem
        return Card(Tone.SUCCESS, f"details {line}", locale=locale, timezone=timezone)


class FakeDirectory:
    """Knows one person."""

    def __init__(self) -> None:
        self.facts = PersonFacts("Alice", None, is_outsider=False)
        self.problem: IntegrationError | None = None

    def look_up(self, account_id: str) -> PersonFacts:
        """Facts, or a failure."""
        if self.problem:
            raise self.problem
        return self.facts


@pytest.fixture
def reading() -> FakeReading:
    """What is known of builds."""
    return FakeReading()


@pytest.fixture
def directory() -> FakeDirectory:
    """What is known of people."""
    return FakeDirectory()


@pytest.fixture
def views(reading: FakeReading, directory: FakeDirectory) -> Views:
    """Windows for members of the workspace."""
    people = People((), {"slack": directory}, None)  # type: ignore[arg-type]  # windows ask nothing of the database
    return Views(reading, people, prefix="/ci-bot", locale="en")


def said(card: Card) -> str:
    """The plain words in a card's paragraphs."""
    bodies = [section.body for section in card.sections if isinstance(section, Paragraph)]
    return " ".join(part.text for body in bodies for part in body if isinstance(part, Plain))


def test_a_member_sees_what_is_known_and_then_the_details(views: Views) -> None:
    """Both contents are those of the build asked for, in the reader's language and zone."""
    assert views.loading(SHOW, ALICE, CI) == Card(Tone.RUNNING, f"loading {SHOW}", locale="zh-CN")
    expected = Card(Tone.SUCCESS, f"details {SHOW}", locale="zh-CN", timezone="Asia/Shanghai")
    assert views.details(SHOW, CI) == expected
    assert views.details(SHOW, ELSEWHERE) == Card(Tone.SUCCESS, f"details {SHOW}", locale="en", timezone="UTC")


def test_a_window_names_the_command_as_it_is_called_here(views: Views, reading: FakeReading) -> None:
    """Whoever renamed the slash command is not told to type another one."""
    reading.problem = CommandInvalid("unknown_build", "user-service#12")
    shown = str(views.details(SHOW, ELSEWHERE))
    assert "/ci-bot help" in shown
    assert "/ship" not in shown


@pytest.mark.parametrize("is_guest", [True, False])
def test_outsiders_see_nothing(views: Views, directory: FakeDirectory, is_guest: bool) -> None:
    """Neither a person of another workspace nor a guest, whom only the platform knows as one."""
    directory.facts = PersonFacts("Alice", None, is_outsider=is_guest)
    with pytest.raises(NotPermitted, match="outsider"):
        views.loading(SHOW, replace(ALICE, is_outsider=not is_guest), ELSEWHERE)


def test_nothing_is_shown_to_who_cannot_be_looked_up(views: Views, directory: FakeDirectory) -> None:
    """When the platform cannot say whether somebody is a guest, no window opens."""
    directory.problem = Unavailable("slack", "refused")
    with pytest.raises(Unavailable):
        views.loading(SHOW, ALICE, ELSEWHERE)


@pytest.mark.parametrize("typed", ["retry user-service#12", "show", "show nonsense", "nonsense"])
def test_only_a_build_can_be_shown(views: Views, typed: str) -> None:
    """A window is for details alone."""
    with pytest.raises(CommandInvalid):
        views.loading(typed, ALICE, ELSEWHERE)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (CommandInvalid("unknown_build", "user-service#12"), "I know no such build."),
        (Unavailable("buildbot", "refused"), "buildbot cannot be reached"),
        (DestinationGone("buildbot", "not_found"), "buildbot has no such thing"),
        (StorageUnavailable("locked"), "I cannot read that right now."),
    ],
)
def test_a_window_says_why_it_stays_empty(
    views: Views, reading: FakeReading, problem: ShipmateError, words: str
) -> None:
    """Whatever goes wrong, the window does not stay at its first content."""
    reading.problem = problem
    card = views.details(SHOW, ELSEWHERE)
    assert card.title == "user-service#12"
    assert words in said(card)


def test_a_window_says_what_is_no_build(views: Views) -> None:
    """A value that no card of ours carries is explained, too."""
    assert "That is no build." in said(views.details("show nonsense", ELSEWHERE))


def test_a_rejection_asks_why_in_the_readers_language(views: Views) -> None:
    """It names the deployment, and carries the command that the words complete; nothing else asks."""
    question = views.question("reject user-service#12", CI)
    assert question.command == "reject user-service#12"
    assert question.label == "为什么拒绝 user-service#12？请求部署的人会看到。"
    with pytest.raises(CommandInvalid):
        views.question(SHOW, CI)
