"""What people are told who ask about one deployment: its card, and why it stands as and where it does."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Card, Lines, Notice
from bot.domain.commands import CommandLine, Verb
from bot.errors import Unavailable
from bot.ports import PersonFacts
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A deployment behind a lock, that one person has approved, and a build of the same number."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.world.accept(*(stage.builds.fetch(key, with_log=False) for key in list(stage.builds.runs)))
    stage.ask(f"deploy {SERVICE} v1 to production because it is better")
    return stage


def words(card: Card) -> dict[str, list[str]]:
    """What stands below each heading."""
    return {
        section.title: ["".join(getattr(part, "text", "") for part in line) for line in section.items]
        for section in card.sections
        if isinstance(section, Lines)
    }


def test_a_deployment_is_explained(stage: Stage) -> None:
    """What happened in order, why it stands as it does, each route's answer, and what became of it at each place."""
    stage.ask(f"confirm {SERVICE}#1")
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.ask(f"lock {SERVICE} in production because load test")
    stage.ask(f"approve {SERVICE}#1", "m2")
    stage.go_on()
    stage.world.deliver(5)
    stage.ask(f"explain deployment:{SERVICE}#1")
    card = stage.world.card_answer()
    told = words(card)
    assert card.title == f"Why {SERVICE}#1 is shown where it is"
    assert told["Events"] == [
        " · 📝 asked for · U1",
        " · ✅ approved · U2",
        " · ✅ approved · m2",
        " · 🕒 queued · Locked. U1: load test",
    ]
    assert told["Routes"] == ["routes[0] · matches → ci"]
    assert any("sent" in line or "shown" in line for line in told["#ci"]), told
    [delivery] = [
        one.id
        for one in stage.world.store.read(lambda tx: tx.cards.of_subject(f"deployment:shipmate/{SERVICE}#1"))
        if one.slot == "card"
    ]
    stage.ask(f"为什么 {delivery}", "m1")
    assert words(stage.world.card_answer())["事件"][0].endswith("发起 · U1")


def test_a_number_is_a_builds_unless_it_says_otherwise(stage: Stage) -> None:
    """Both are counted from one; where there is no such build the deployment is meant."""
    stage.ask(f"confirm {SERVICE}#1")
    stage.ask(f"show {SERVICE}#1")
    assert "waits for approval" not in stage.world.card_answer().title
    for typed in (f"show deployment:{SERVICE}#1", f"详情 shipmate/{SERVICE}#1"):
        stage.ask(typed)
        assert "waits for approval" in stage.world.card_answer().title
        assert [action.id for action in stage.world.card_answer().actions] == ["approve", "reject"]
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.ask(f"explain {SERVICE}#2")
    assert "asked for" in str(words(stage.world.card_answer()))


@pytest.mark.parametrize(
    "name", [f"{SERVICE}#1", f"{SERVICE}#7", "billing#1", f"{SERVICE}#x", f"{SERVICE}#" + "9" * 30]
)
@pytest.mark.parametrize("verb", ["show", "explain"])
def test_what_is_not_confirmed_is_nobodys_business(stage: Stage, verb: str, name: str) -> None:
    """Its requester has its preview; neither is one told of that never was."""
    stage.ask(f"{verb} deployment:{name}")
    assert isinstance(stage.world.answer, Notice)
    assert "no such deployment" in stage.world.said[-1]


def test_who_is_called_to_approve_is_called_by_name(store: SqlStore, database: Engine) -> None:
    """Names are asked for when a deployment is; one that its platform does not tell stays the account's."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.world.directory.people["U2"] = PersonFacts("Chen Wei", None, False)
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.world.deliver(5)
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert [(one.name, one.account) for one in notices[-1].mentions] == [("Chen Wei", "slack:U2"), ("U3", "slack:U3")]
    stage.world.directory.people["U2"] = PersonFacts("", None, False)
    stage.ask(f"approve {SERVICE}#1", "U2")
    assert stage.deployment().approvals[0].name == "Chen Wei"


def test_names_that_cannot_be_asked_for_delay_nothing(stage: Stage) -> None:
    """They are learned another time."""
    stage.world.directory.people["U1"] = PersonFacts("Alice", None, False)
    stage.world.other_directory.fails = [Unavailable("dingtalk", "no_answer")]
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert stage.newest() == 2


def test_a_window_shows_a_deployment_at_once(stage: Stage) -> None:
    """Everything that is known of it is in the database."""
    stage.ask(f"confirm {SERVICE}#1")
    reading = stage.world.worker._reading
    card = reading.loading(CommandLine(Verb.SHOW, (f"deployment:{SERVICE}#1",)), "en")
    assert "waits for approval" in card.title


def test_whats_in_names_the_commits_of_the_same_branch(stage: Stage) -> None:
    """What was built of another branch meanwhile is no part of it."""
    stage.good("v1", "staging")
    stage.build("aside", title="Try something")
    stage.build("v2", title="Fix USER-7")
    assert shown_commits(stage) == ["Fix USER-7"]


def test_whats_in_tells_what_was_heard_where_the_source_does_not(stage: Stage) -> None:
    """The commits that builds were built of, without a word of what else they brought."""
    stage.good("v1", "staging")
    stage.build("v2", title="Fix USER-7")
    stage.builds.away = {"commits"}
    assert shown_commits(stage) == ["Fix USER-7"]


def shown_commits(stage: Stage) -> list[str]:
    """The titles of the commits that staging lacks."""
    stage.ask(f"whats-in {SERVICE} staging")
    card = stage.world.answer
    assert isinstance(card, Card)
    (lines,) = words(card).values()
    return [line.split(" ", 1)[1].strip(" ·") for line in lines]
