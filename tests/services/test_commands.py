"""Commands: refused, done once, answered honestly, and on the record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.cards import Notice
from bot.domain.commands import SPECS, Verb, parse_command
from bot.domain.subjects import SubjectKey
from bot.errors import AuthFailed, DestinationGone, LeaseLost, Unavailable
from bot.ports import PersonFacts
from bot.services.deployments.desk import DEPLOYMENT_VERBS
from tests.services.world import CI, World
from tests.stores import event_of

pytestmark = pytest.mark.one_engine

Failed = tuple[World, SubjectKey]


@pytest.fixture
def failed(world: World) -> Failed:
    """A failed build that the CI system and the database know, with its card."""
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.deliver(5)
    return world, key


def test_a_refusal_is_audited_and_changes_nothing(failed: Failed) -> None:
    """Who has no role is told so; nothing is triggered and the trail says who tried what."""
    world, key = failed
    world.ask("retry user-service#1", "U9")
    world.work()
    assert world.said[-1].startswith("You have no role here that allows this. It takes ")
    assert world.builds.requests == []
    assert world.trail() == [("slack:U9", "retry", str(key), "refused:no_role")]
    assert world.states() == ["refused"]


def test_outsiders_may_not_even_look(failed: Failed) -> None:
    """A guest, by the platform's directory or by the door's word, gets no answer from the builds."""
    world, _ = failed
    world.directory.people["U5"] = PersonFacts("Guest", "lead@example.com", is_outsider=True)
    world.ask("show user-service#1", "U5")
    world.ask("retry user-service#1", "U5")
    world.ask("status", is_outsider=True)
    world.work()
    assert world.said == ["I take commands from members of this workspace only."] * 3


def test_a_role_by_e_mail_counts(failed: Failed) -> None:
    """The directory's address gives the roles of the configuration."""
    world, _ = failed
    world.directory.people["U6"] = PersonFacts("Lead", "Lead@Example.com", is_outsider=False)
    world.ask("retry user-service#1", "U6")
    world.work(5)
    assert [request.asked_by for request in world.builds.requests] == ["Lead"]


def test_two_people_press_and_one_run_starts(failed: Failed) -> None:
    """The first press triggers, the second is told who did it and the new number; the old card says so too."""
    world, key = failed
    world.ask("retry buildbot/user-service#1@1", "U1", key="press:a")
    assert not world.ask("retry buildbot/user-service#1@1", "U1", key="press:a")
    world.work(5)
    world.ask("retry buildbot/user-service#1@1", "U2")
    world.work(5)
    assert len(world.builds.requests) == 1
    assert world.said == ["Started build user-service#2", "U1 has done this already → user-service#2"]
    outcomes = [outcome for _, _, target, outcome in world.trail() if target == str(key)]
    assert outcomes[:2] == ["started", "done:build:buildbot/user-service#2"]
    assert outcomes[2].startswith("duplicate:")
    world.deliver(5)
    footer = world.messenger.posts[CI, world.card(1).message_ref or ""].content.footer  # type: ignore[union-attr] # a card
    assert "Retried by U1 → user-service#2" in footer[0].text
    assert world.open_commands() == 0


def test_a_press_on_an_earlier_attempt_repeats_nothing(failed: Failed) -> None:
    """A vendor's re-run under the same number does not make a press on the old attempt a new wish."""
    world, key = failed
    world.ask("retry buildbot/user-service#1@1")
    world.work(5)
    facts = world.builds.fetch(key, with_log=False)
    world.accept(event_of(1, BuildStatus.FAILED, at=50, attempt=2, generation=facts.generation))
    world.ask("retry buildbot/user-service#1@1", "U2")
    world.work(5)
    assert len(world.builds.requests) == 1
    assert world.said[-1].startswith("U1 has done this already")


def test_a_worker_that_was_given_up_triggers_and_says_nothing(failed: Failed) -> None:
    """A worker that hung until its lease ran out finds the command in other hands."""
    world, _ = failed
    world.ask("retry user-service#1")
    late = world.take()[0]
    world.clock.advance(61)
    world.work(5)
    with pytest.raises(LeaseLost):
        world.worker.carry_out(late)
    assert len(world.builds.requests) == 1
    assert world.said == ["Started build user-service#2"]


def test_a_ci_that_never_answers_was_never_in_doubt(failed: Failed) -> None:
    """A refused connection had no effect: the person is told to try again, and may."""
    world, _ = failed
    world.builds.away = {"retry", "find_run"}
    world.ask("retry user-service#1")
    world.work(120)
    assert world.said == ["buildbot cannot be reached at the moment. Please try again in a minute."]
    assert world.states() == ["failed"]
    assert world.trail()[-1][3] == "failed:connection_refused"
    world.builds.away = set()
    world.ask("retry user-service#1")
    world.work(10)
    assert len(world.builds.requests) == 1


@pytest.mark.parametrize(
    ("typed", "english", "chinese"),
    [
        ("retri x", "I do not know that command. Did you mean /ship retry · /ship help", "我不认识这个命令。"),
        ("retry", "Something is missing. Write it like this: /ship retry <project>#<number>", "命令不完整。"),
        ("retry user-service", "That is no build.", "这不是构建的名称。"),
        ("retry user-servise#1", "I know no project of that name. Did you mean user-service", "没有找到这个项目。"),
        ("builds nothing", "I know no project of that name.", "没有找到这个项目。"),
        ("run billingg", "I know no project of that name. Did you mean billing", "没有找到这个项目。"),
        ("explain user-service#99", "I know no such build. user-service#99", "没有找到这个构建。"),
        ("run user-service version", "Parameters look like this: name=value version", "参数请这样写"),
        ("run user-service x=1", "buildbot refuses: x.", "buildbot 拒绝了请求：x。"),
        ("run billing", "This source only tells me things", "这个来源只能向我推送消息"),
        ("cancel user-service#99", "buildbot has no such build (any more).", "buildbot 中没有"),
        ("retry user-service#2", "This build is still running", "该构建仍在运行"),
    ],
)
def test_what_cannot_be_done_is_said_in_both_languages(typed: str, english: str, chinese: str, failed: Failed) -> None:
    """Each problem has its sentence, in the language of the place, and nothing was started."""
    world, _ = failed
    world.builds.start()
    world.ask(typed)
    world.ask(typed, "m1", platform="dingtalk")
    world.work(5)
    assert world.said[0].startswith(english)
    assert world.said[1].startswith(chinese)
    assert world.builds.requests == []
    assert {reply_to.platform for reply_to, _, _ in world.responder.answers} == {"slack", "dingtalk"}


def test_a_vanished_builder_is_said(failed: Failed) -> None:
    """A project that the CI no longer has is a clear answer, and audited."""
    world, _ = failed
    world.builds.projects = ()
    world.ask("retry user-service#1")
    world.work(5)
    assert world.said == ["This project is not configured for buildbot (any more)."]
    assert world.trail()[-1][3] == "failed:unknown_project"


def test_a_running_build_is_cancelled_once(world: World) -> None:
    """The build stops; a second wish is told of the first, and an ended build says so."""
    key = world.builds.start()
    world.accept(world.builds.fetch(key, with_log=False))
    world.ask("cancel user-service#1")
    world.ask("cancel user-service#1", "U2")
    world.work(5)
    assert world.said == ["user-service#1 is being cancelled.", "U1 has done this already"]
    ended = world.builds.start()
    world.builds.finish(ended)
    world.ask("cancel user-service#2")
    world.work(5)
    assert world.said[-1] == "user-service#2 had ended already."
    assert [entry[3] for entry in world.trail() if entry[0] == "slack:U1"][-1] == "already_ended"


def test_a_run_with_parameters(world: World) -> None:
    """`run` starts a build of the project with what was asked for, each time anew."""
    for _ in range(2):
        world.ask("run user-service version=1.2=x")
    world.work(5)
    assert [request.parameters for request in world.builds.requests] == [{"version": "1.2=x"}] * 2
    assert sorted(world.said) == ["Started build user-service#1", "Started build user-service#2"]


def test_a_card_older_than_the_database_still_works(world: World) -> None:
    """A button for a build that only the CI knows acts, once."""
    world.builds.finish(world.builds.start())
    for person in ("U1", "U2"):
        world.ask("retry buildbot/user-service#1@1", person)
    world.work(5)
    assert len(world.builds.requests) == 1
    assert world.said[0] == "Started build user-service#2"
    world.ask("show buildbot/user-service#1@1")
    world.work()
    assert world.card_answer().title == "user-service #1 · failed"


def test_a_directory_that_is_down_puts_a_command_off(failed: Failed) -> None:
    """Nobody is let in unseen: the command waits for the directory, and says so when it stays away."""
    world, _ = failed
    world.directory.fails = [Unavailable("slack", "down")] * 2
    world.ask("retry user-service#1")
    world.work(30)
    assert world.said == ["Started build user-service#2"]
    world.directory.fails = [Unavailable("slack", "down")] * 10
    world.ask("retry user-service#2")
    world.work(60)
    assert world.said[-1] == "slack cannot be reached at the moment. Please try again in a minute."
    assert len(world.builds.requests) == 1


def test_an_answer_that_cannot_be_given_does_not_undo_the_command(failed: Failed) -> None:
    """The build was retried, though the person's place is gone."""
    world, _ = failed
    world.responder.fails = [DestinationGone("slack", "channel_not_found")]
    world.ask("retry user-service#1")
    world.work(5)
    assert (world.states(), len(world.builds.requests)) == (["done"], 1)


def test_a_cancellation_that_was_not_answered_is_only_answered(world: World) -> None:
    """Its worker died between the end of the build and the answer: the build is not stopped again."""
    world.builds.start()
    world.responder.fails = [LeaseLost("the worker died")]
    world.ask("cancel user-service#1")
    world.work()
    assert (world.said, world.open_commands()) == ([], 1)
    world.work(90)
    assert world.said == ["user-service#1 is being cancelled."]
    assert [entry[1:2] + entry[3:] for entry in world.trail()] == [("cancel", "started"), ("cancel", "done")]
    assert (world.states(), world.open_commands()) == (["done"], 0)


def test_a_mute_and_a_subscription_from_chat(make_world: Callable[..., World]) -> None:
    """What a lead asks for changes what the channel gets; milestones that do not exist are refused."""
    world = make_world(routes=())
    world.directory.people["U6"] = PersonFacts("Lead", "lead@example.com", is_outsider=False)
    for typed in ("subscribe user-service failed", "subscribe user-service sometimes", "subscribe user-x"):
        world.ask(typed, "U6")
    world.work()
    assert world.said[0] == "Cards of user-service come here from now on."
    assert world.said[1].startswith("Known milestones")
    assert world.said[2].startswith("I know no project")
    world.accept(event_of(1, BuildStatus.FAILED))
    assert (CI, "card") in world.slots(1)
    world.ask("mute user-service", "U6")
    world.work()
    world.accept(event_of(2, BuildStatus.FAILED))
    assert world.slots(2) == set()
    assert [entry[1:2] + entry[3:] for entry in world.trail()] == [
        ("subscribe", "done"),
        ("subscribe", "refused:unknown_milestone"),
        ("subscribe", "refused:unknown_project"),
        ("mute", "done"),
    ]


def test_a_wish_that_was_not_answered_is_not_wished_again(make_world: Callable[..., World]) -> None:
    """Its worker died before the answer, and meanwhile the channel was muted: it is answered, and stays muted."""
    world = make_world(routes=())
    world.directory.people["U6"] = PersonFacts("Lead", "lead@example.com", is_outsider=False)
    world.accept(event_of(1))
    world.responder.fails = [LeaseLost("the worker died")]
    world.ask("subscribe user-service", "U6")
    world.work()
    world.clock.advance(1)
    world.ask("mute user-service", "U6")
    world.work()
    world.work(90)
    assert world.said == ["No more cards of user-service here.", "Cards of user-service come here from now on."]
    assert [entry[1:2] + entry[3:] for entry in world.trail()] == [("subscribe", "done"), ("mute", "done")]
    assert (world.states(), world.open_commands()) == (["done", "done"], 0)
    world.accept(event_of(2))
    assert world.slots(2) == set()


@pytest.mark.parametrize(
    ("typed", "entry"),
    [
        ("retry user-service", ("retry", "user-service", "refused:malformed_reference")),
        ("重试user-service", ("retry", "user-service", "refused:malformed_reference")),
        ("retry", ("retry", "", "refused:missing_argument")),
        ("cancel nothing#1", ("cancel", "nothing#1", "refused:unknown_project")),
        ("run user-service version", ("run", "user-service version", "refused:bad_parameter")),
    ],
)
def test_a_changing_command_that_makes_no_sense_is_on_the_record(
    typed: str, entry: tuple[str, str, str], world: World
) -> None:
    """Who tried to change something in words that name nothing is found in the trail."""
    world.ask(typed)
    world.work(5)
    assert world.trail() == [("slack:U1", *entry)]
    assert world.states() == ["refused"]


@pytest.mark.parametrize("typed", ["statsu", "show nothing", "builds nothing"])
def test_what_changes_nothing_is_not_on_the_record(typed: str, world: World) -> None:
    """A slip in a question is answered and forgotten."""
    world.ask(typed)
    world.work(5)
    assert world.states() == ["refused"]
    assert world.trail() == []


def test_a_changing_command_of_somebody_nobody_can_name_is_on_the_record(failed: Failed) -> None:
    """A directory that refuses our credential ends the command, and the trail has it."""
    world, _ = failed
    world.directory.fails = [AuthFailed("slack", "token_revoked")] * 2
    world.ask("retry user-service#1")
    world.ask("status")
    world.work(5)
    assert world.trail() == [("slack:U1", "retry", "user-service#1", "failed:token_revoked")]
    assert world.states() == ["failed"] * 2


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("attempt", [2, 7])
def test_an_attempt_that_is_not_the_newest_starts_nothing(attempt: int, is_known: bool, world: World) -> None:
    """Whatever is typed behind the @, one build is started for one build."""
    key = world.builds.start()
    world.builds.finish(key)
    if is_known:
        world.accept(world.builds.fetch(key, with_log=False))
    world.ask(f"retry user-service#1@{attempt}")
    world.work(5)
    assert world.said == ["That is not the newest attempt of this build. Its card shows that one."]
    assert world.builds.requests == []
    assert world.trail()[-1][3].startswith("conflict:")
    for typed in ("retry user-service#1@1", "retry user-service#1"):
        world.ask(typed)
        world.work(5)
    assert len(world.builds.requests) == 1


OPEN = {Verb.LINK, Verb.UNLINK}  # to every member: see test_linking
CHANGING = (
    "retry user-service#1",
    "cancel user-service#1",
    "run user-service",
    "subscribe user-service",
    "mute user-service",
)


@pytest.mark.parametrize("typed", CHANGING)
@pytest.mark.parametrize("person", ["U6", "U9"])
def test_every_changing_command_is_on_the_record(typed: str, person: str, failed: Failed) -> None:
    """Allowed or refused, what changes something leaves entries with the person's account."""
    world, _ = failed
    world.directory.people["U6"] = PersonFacts("Lead", "lead@example.com", is_outsider=False)
    assert SPECS[parse_command(typed).verb].changes
    world.ask(typed, person)
    world.work(10)
    assert {(actor, verb) for actor, verb, _, _ in world.trail()} == {(f"slack:{person}", typed.partition(" ")[0])}
    assert any(outcome.startswith("refused") for *_, outcome in world.trail()) == (person == "U9")


def test_the_list_of_changing_commands_is_whole() -> None:
    """A new changing verb must be held to the test above."""
    changing = {verb for verb, spec in SPECS.items() if spec.changes}
    assert {
        parse_command(typed).verb for typed in CHANGING
    } == changing - DEPLOYMENT_VERBS - OPEN  # they have their own


@pytest.mark.parametrize(
    "typed",
    [
        *("help", "help welcome", "status", "status user-service", "builds user-service", "whoami", "here"),
        *("show user-service#1", "log user-service#1", "explain user-service#1"),
    ],
)
def test_what_only_looks_answers_with_a_card(typed: str, failed: Failed) -> None:
    """Every member gets a card for each question, in both languages, and nothing is audited."""
    world, _ = failed
    world.ask(typed, "U9")
    world.ask(typed, "m9", platform="dingtalk")
    world.work()
    assert not isinstance(world.answer, Notice)
    assert [content.locale for _, content, _ in world.responder.answers] == ["en", "zh-CN"]
    assert world.trail() == []
