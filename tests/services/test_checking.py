"""A build that may have been started: nothing is started beside it, and its person hears what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

import pytest
from sqlalchemy import update

from bot.errors import AuthFailed, DestinationGone, Unavailable
from bot.ports import CommandRecord, PersonFacts, Triggered
from bot.services.commands import MOST_DEATHS
from bot.services.steps import MOST_TRIES
from bot.storage.tables import commands
from tests.build_fakes import FakeBuildSystem
from tests.services.world import CI, World

pytestmark = pytest.mark.one_engine

RETRY = "retry user-service#1"
UNKNOWN = (
    "I do not know yet whether buildbot took my request for a build of user-service: no answer came. "
    "I keep looking, and start nothing meanwhile."
)
NOT_DONE = (
    "No build of user-service was started: buildbot never got my request. Please ask again if it is still wanted."
)
NEVER_KNOWN = (
    "For a week buildbot has not told whether it took my request for a build of user-service. "
    "Whoever asks again has me look first."
)
TOLD_SECOND = (
    "U1 has asked for this, and buildbot has not told yet what came of it. I keep looking, and start nothing meanwhile."
)
HOUR = 3600.0
WEEK = 7 * 24 * HOUR


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A failed build that the CI system and the database know, with its card; both clocks agree."""
    world = make_world()
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.deliver(5)
    world.directory.people["U6"] = PersonFacts("Lead", "lead@example.com", is_outsider=False)
    world.builds.now = world.clock.now()
    return world


@pytest.fixture
def in_doubt(world: World) -> World:
    """The answer to a retry was lost, and the CI system is away since."""
    world.builds.loses_answers = True
    world.builds.away = {"find_run"}
    world.ask(RETRY)
    world.work()
    world.builds.loses_answers = False
    return world


def die(world: World, in_call: str) -> None:
    """The worker takes the command and dies in a step of it, which happens or not as the call's name says."""
    (record,) = world.take()
    if in_call != "nothing":
        _die_in(world, record, in_call)
    world.clock.advance(61 * 2 ** max(0, record.command.tries - 4))


def _die_in(world: World, record: CommandRecord, in_call: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if in_call == "hold":  # the run was asked for, nobody noted it
            patch.setattr(type(world.worker._acting._log), "hold", _stop)
        else:
            patch.setattr(FakeBuildSystem, in_call, _stop)
        with pytest.raises(SystemExit):
            world.worker.carry_out(record)


def _stop(*_arguments: object, **_named: object) -> None:
    raise SystemExit


def back(world: World) -> None:
    """The CI system answers again."""
    world.builds.away = set()


def never_happened(world: World) -> None:
    """The lost request had not reached the CI system."""
    for request in world.builds.requests:
        assert request.build is not None
        del world.builds.runs[request.build]
    world.builds.requests.clear()


def footer(world: World) -> str:
    """The last line of the failed build's card."""
    world.deliver(10)
    return str(world.messenger.posts[CI, world.card(1).message_ref or ""].content.footer)  # type: ignore[union-attr] # a card


# --- workers that die


def test_a_lost_answer_is_found(world: World) -> None:
    """The run whose answer was lost is found, adopted and told of, as if nothing had been."""
    world.builds.loses_answers = True
    world.ask(RETRY)
    world.work()
    world.builds.loses_answers = False
    world.work(30)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)


@pytest.mark.parametrize("late_s", [5.0, 40.0, 55.0])
def test_a_trigger_that_is_carried_out_late_starts_one_build(world: World, late_s: float) -> None:
    """A request that we hung up on is let through later: until it cannot come any more nothing is asked for again."""
    world.builds.loses_answers, world.builds.lost_as, world.builds.queues = True, "timeout", True
    world.ask(RETRY)
    world.work()
    world.builds.loses_answers = False
    held = world.builds.requests.pop()
    world.work(late_s)
    assert world.builds.requests == []
    world.builds.requests.append(held)
    world.builds.begin_queued()
    world.work(120)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)


def test_a_trigger_that_never_arrived_is_made_anew(world: World) -> None:
    """A minute after we hung up it cannot come any more."""
    world.builds.loses_answers, world.builds.lost_as = True, "timeout"
    world.ask(RETRY)
    world.work()
    world.builds.loses_answers = False
    never_happened(world)
    world.work(59)
    assert world.builds.requests == []
    world.work(60)
    assert len(world.builds.requests) == 1


@pytest.mark.parametrize("deaths", [1, 5])
@pytest.mark.parametrize("in_call", ["nothing", "fetch", "retry"])
def test_workers_that_die_before_the_trigger_leave_it_to_the_next(world: World, in_call: str, deaths: int) -> None:
    """However often workers die before they ask for the build, it is asked for once, and nobody hears of the deaths."""
    world.ask(RETRY)
    for _ in range(deaths):
        die(world, in_call)
        if in_call != "nothing":  # it may have been asked for: the next one looks, and finds that it was not
            world.work_once()
    assert (world.said, world.builds.requests) == ([], [])
    world.work(120)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)
    assert (world.states(), world.open_commands()) == (["done"], 0)
    assert "Retried by U1" in footer(world)


@pytest.mark.parametrize("deaths", [1, 5])
def test_workers_that_die_after_the_trigger_start_nothing_twice(world: World, deaths: int) -> None:
    """The first one asked for the build, the others die while they note that it was found: one build, one answer."""
    world.ask(RETRY)
    for _ in range(deaths):
        die(world, "hold")
    world.work(120)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)
    assert [outcome for *_, outcome in world.trail()] == ["started", "done:build:buildbot/user-service#2"]
    assert "Retried by U1" in footer(world)


@pytest.mark.parametrize(
    ("typed", "in_call"), [(RETRY, "nothing"), (RETRY, "fetch"), (RETRY, "retry"), ("run user-service", "run")]
)
def test_a_command_that_kills_every_worker_before_the_trigger_ends(world: World, in_call: str, typed: str) -> None:
    """A poisoned command is closed after eight deaths: nothing was done, its person is told, the next press is free."""
    world.ask(typed)
    for _ in range(MOST_DEATHS):
        assert world.open_commands() == 1
        die(world, in_call)
        if in_call != "nothing":
            world.work_once()
    world.work(HOUR)
    assert (world.states(), world.open_commands(), world.builds.requests) == (["failed"], 0, [])
    assert len(world.said) == 1
    assert "nothing was done" in world.said[0] or world.said[0] == NOT_DONE
    world.ask(typed)
    world.work(10)
    assert world.said[-1] == "Started build user-service#2"


def test_a_look_that_kills_every_worker_ends_in_doubt(world: World) -> None:
    """Nobody can tell what came of it: the person is told, and the next press looks before it starts anything."""
    world.ask(RETRY)
    die(world, "hold")
    for _ in range(MOST_DEATHS - 1):
        die(world, "find_run")
    world.work(HOUR)
    assert (world.states(), world.open_commands()) == (["in_doubt"], 0)
    assert "I do not know how far this came" in world.said[-1]
    world.ask(RETRY, "U2")
    world.work(10)
    assert (world.said[-1], len(world.builds.requests)) == ("U1 has done this already → user-service#2", 1)
    assert "Retried by U1" in footer(world)


def test_a_follower_that_kills_every_worker_ends_in_doubt(world: World) -> None:
    """A build that was asked for keeps its place: the next press is about the same one."""
    world.builds.queues = True
    world.ask(RETRY)
    world.work(1)
    for _ in range(MOST_DEATHS):
        world.clock.advance(60)
        die(world, "follow")
    world.work(HOUR)
    assert (world.states(), world.open_commands()) == (["in_doubt"], 0)
    world.ask(RETRY, "U2")
    world.work(10)
    assert (world.said[-1], len(world.builds.requests)) == (TOLD_SECOND, 1)
    world.builds.begin_queued()
    world.work(10)
    assert (world.said[-1], len(world.builds.requests)) == ("U1 has done this already → user-service#2", 1)


def test_a_command_whose_holders_die_is_held_ever_longer(world: World) -> None:
    """What kills the process may not do so every minute."""
    world.ask(RETRY)
    pauses = []
    for _ in range(MOST_DEATHS):
        since = world.clock.now().timestamp()
        world.take()
        due_at = world.store.read(lambda tx: tx.commands.next_due_at())
        assert due_at is not None
        pauses.append(due_at - since)
        world.clock.advance(due_at - since + 1)
    assert pauses == [60, 60, 60, 60, 120, 240, 480, 960]


def test_a_worker_that_is_too_slow_asks_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hung between noting and asking starts nothing any more, for somebody else may be looking soon."""
    fetch = FakeBuildSystem.fetch

    def fetch_slowly(*arguments: object, **named: object) -> object:
        monkeypatch.undo()
        world.clock.advance(20)
        return fetch(*arguments, **named)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(FakeBuildSystem, "fetch", fetch_slowly)
    world.ask(RETRY)
    world.work_once()
    assert world.builds.requests == []
    world.work(5)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)


# --- answers that are lost


def test_an_outage_after_the_trigger_is_waited_for(in_doubt: World) -> None:
    """An hour without a word: the person is told once, and of the build as soon as the CI system speaks again."""
    in_doubt.work(HOUR)
    assert (in_doubt.said, in_doubt.states(), in_doubt.open_commands()) == ([UNKNOWN], ["in_doubt"], 1)
    back(in_doubt)
    in_doubt.work(300)
    assert (in_doubt.said, len(in_doubt.builds.requests)) == ([UNKNOWN, "Started build user-service#2"], 1)
    assert [outcome for *_, outcome in in_doubt.trail()] == ["started", "done:build:buildbot/user-service#2"]
    assert "Retried by U1" in footer(in_doubt)


def test_the_looks_become_seldom(in_doubt: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage of days is no storm of calls: a second apart at first, five minutes later on."""
    looks: list[datetime] = []
    find_run = FakeBuildSystem.find_run

    def find_noted(*arguments: object, **named: object) -> Triggered | None:
        looks.append(in_doubt.clock.now())
        return find_run(*arguments, **named)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(FakeBuildSystem, "find_run", find_noted)
    in_doubt.work(6 * HOUR)
    pauses = [round((later - earlier).total_seconds()) for earlier, later in pairwise(looks)]
    assert (pauses[0], pauses[-1]) == (1, 300)
    assert pauses == sorted(pauses)
    assert len(looks) < 100


def test_what_never_arrived_is_asked_for_again_at_once(world: World) -> None:
    """A lost answer to a request that the CI system never got: half a minute later it is clear, and asked for anew."""
    world.builds.loses_answers = True
    world.ask(RETRY)
    world.work()
    world.builds.loses_answers = False
    never_happened(world)
    world.work(25)
    assert world.builds.requests == []  # the lost call might still arrive
    world.work(15)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)
    assert [outcome for *_, outcome in world.trail()][:2] == ["started", "started"]


def test_what_never_arrived_is_left_to_who_was_told_of_the_doubt(in_doubt: World) -> None:
    """After an hour of silence nothing starts by itself: the person hears that nothing was started, and may press."""
    in_doubt.work(HOUR)
    never_happened(in_doubt)
    back(in_doubt)
    in_doubt.work(HOUR)
    assert (in_doubt.said, in_doubt.builds.requests) == ([UNKNOWN, NOT_DONE], [])
    assert (in_doubt.states(), in_doubt.open_commands()) == (["failed"], 0)
    assert in_doubt.trail()[-1][3] == "failed:not_done"
    in_doubt.ask(RETRY, "U2")
    in_doubt.work(10)
    assert (in_doubt.said[-1], len(in_doubt.builds.requests)) == ("Started build user-service#2", 1)


def test_a_ci_that_loses_every_request_is_not_asked_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four requests that are lost on the way end the command with a sentence."""
    asked: list[object] = []
    retry = FakeBuildSystem.retry

    def retry_in_vain(*arguments: object, **named: object) -> Triggered:
        asked.append(named)
        try:
            return retry(*arguments, **named)  # type: ignore[arg-type] # passed on
        finally:
            never_happened(world)

    monkeypatch.setattr(FakeBuildSystem, "retry", retry_in_vain)
    world.builds.loses_answers = True
    world.ask(RETRY)
    world.work(HOUR)
    assert (len(asked), world.said, world.states()) == (MOST_TRIES, [NOT_DONE], ["failed"])


@pytest.mark.parametrize(
    "refusal",
    [AuthFailed("buildbot", "http_401"), DestinationGone("buildbot", "no_such_build")],
    ids=lambda e: e.reason,
)
def test_a_refusal_to_tell_is_no_word(in_doubt: World, refusal: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CI system that will not say is asked on; the person is told at once."""

    def refuse(*_arguments: object, **_named: object) -> None:
        raise refusal

    with monkeypatch.context() as patch:
        patch.setattr(FakeBuildSystem, "find_run", refuse)
        in_doubt.work(5)
        assert in_doubt.said == [UNKNOWN]
        in_doubt.work(HOUR)
    back(in_doubt)
    in_doubt.work(HOUR)
    assert (in_doubt.said, len(in_doubt.builds.requests)) == ([UNKNOWN, "Started build user-service#2"], 1)


def test_a_week_without_a_word_ends_in_doubt(in_doubt: World) -> None:
    """It ends as what it is, and the effect stays: the next press looks first, and finds the build."""
    in_doubt.work(60)
    in_doubt.clock.advance(WEEK)
    in_doubt.work(600)
    assert in_doubt.said[1:] == [NEVER_KNOWN]
    assert (in_doubt.states(), in_doubt.open_commands()) == (["in_doubt"], 0)
    assert in_doubt.trail()[-1][3] == "in_doubt:connection_refused"
    in_doubt.ask(RETRY, "U2")
    in_doubt.work(60)
    assert in_doubt.said[-1] == UNKNOWN
    back(in_doubt)
    in_doubt.work(300)
    assert in_doubt.said[-1] == "U1 has done this already → user-service#2"
    assert (len(in_doubt.builds.requests), in_doubt.states()) == (1, ["in_doubt", "done"])
    assert [entry[0] for entry in in_doubt.trail() if entry[3].startswith("done:")] == ["slack:U2"]
    assert "Retried by U1" in footer(in_doubt)


def test_a_press_after_the_week_starts_what_never_was(in_doubt: World) -> None:
    """Where the first request certainly came to nothing, the second person's own is made, once."""
    in_doubt.clock.advance(WEEK)
    in_doubt.work(600)
    in_doubt.clock.advance(WEEK)
    in_doubt.work(600)
    never_happened(in_doubt)
    back(in_doubt)
    in_doubt.builds.now = in_doubt.clock.now()
    in_doubt.ask(RETRY, "U2")
    in_doubt.work(10)
    assert (in_doubt.said[-1], len(in_doubt.builds.requests)) == ("Started build user-service#2", 1)
    assert "Retried by U2" in footer(in_doubt)


# --- others, meanwhile


def test_a_second_person_hears_of_the_doubt(in_doubt: World) -> None:
    """Nobody starts a second build beside one that may be there; whoever presses reads why."""
    in_doubt.work(60)
    for person in ("U2", "U6"):
        in_doubt.ask(RETRY, person)
    in_doubt.work(60)
    assert in_doubt.said == [UNKNOWN, TOLD_SECOND, TOLD_SECOND]
    back(in_doubt)
    in_doubt.work(120)
    in_doubt.ask(RETRY, "U2")
    in_doubt.work(10)
    assert in_doubt.said[3:] == ["Started build user-service#2", "U1 has done this already → user-service#2"]
    assert len(in_doubt.builds.requests) == 1


def test_the_doubt_is_told_in_both_languages(in_doubt: World) -> None:
    """What the second person reads in DingTalk is Chinese."""
    in_doubt.work(60)
    in_doubt.ask(RETRY, "m1", platform="dingtalk")
    in_doubt.work(5)
    assert in_doubt.said[-1] == "U1 已发起此操作，buildbot 尚未告知结果。我会继续查看，其间不会启动任何构建。"


def test_two_people_press_after_the_week_and_one_goes_on(in_doubt: World) -> None:
    """The first of them looks on in the first person's stead, the other one is told so."""
    in_doubt.clock.advance(WEEK)
    in_doubt.work(600)
    in_doubt.clock.advance(WEEK)
    in_doubt.work(600)
    assert in_doubt.open_commands() == 0
    for person in ("U2", "U6"):
        in_doubt.ask(RETRY, person)
    in_doubt.work(60)
    assert in_doubt.open_commands() == 1
    assert in_doubt.said[-2:] == [UNKNOWN, TOLD_SECOND]
    back(in_doubt)
    in_doubt.work(300)
    assert (len(in_doubt.builds.requests), in_doubt.said[-1]) == (1, "U1 has done this already → user-service#2")


def test_who_loses_the_role_meanwhile_hears_of_the_build_all_the_same(world: World) -> None:
    """It was asked for while that was allowed: a look needs no permission, and the directory is not asked."""
    world.builds.loses_answers = True
    world.ask(RETRY, "U6")
    world.work()
    world.builds.loses_answers = False
    world.directory.people["U6"] = PersonFacts("Lead", "former@example.com", is_outsider=False)
    world.directory.fails = [Unavailable("slack", "down")] * 9
    world.work(30)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)
    assert [outcome for *_, outcome in world.trail()] == ["started", "done:build:buildbot/user-service#2"]


def test_who_loses_the_role_meanwhile_starts_nothing_anew(world: World) -> None:
    """What never arrived is not asked for again by somebody who may not any more; the next person may."""
    world.builds.loses_answers = True
    world.ask(RETRY, "U6")
    world.work()
    world.builds.loses_answers = False
    never_happened(world)
    world.directory.people["U6"] = PersonFacts("Lead", "former@example.com", is_outsider=False)
    world.work(60)
    assert [words.partition(".")[0] for words in world.said] == ["You have no role here that allows this"]
    assert (world.states(), world.builds.requests) == (["refused"], [])
    assert [outcome for *_, outcome in world.trail()] == ["started", "refused:no_role"]
    world.ask(RETRY)
    world.work(10)
    assert world.said[-1] == "Started build user-service#2"


def test_a_source_that_was_taken_out_is_not_asked(in_doubt: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be put back: the command waits, its person is told, and nothing else happens."""
    with monkeypatch.context() as patch:
        patch.setattr(in_doubt.worker._acting._sources, "_sources", {})
        in_doubt.work(600)
        assert (in_doubt.said, in_doubt.open_commands()) == ([UNKNOWN], 1)
    back(in_doubt)
    in_doubt.work(600)
    assert in_doubt.said == [UNKNOWN, "Started build user-service#2"]


def test_a_command_begun_by_an_older_version_is_looked_for(in_doubt: World) -> None:
    """What that version did not note is read from the words that were typed."""
    with in_doubt.database.begin() as connection:
        connection.execute(update(commands).values(result={}))
    back(in_doubt)
    in_doubt.work(60)
    assert (in_doubt.said, len(in_doubt.builds.requests)) == (["Started build user-service#2"], 1)


def test_a_cancellation_in_doubt_may_be_asked_for_again(world: World) -> None:
    """Stopping twice does no harm: its effect is free as soon as it ends, whatever became of it."""
    key = world.builds.start()
    world.accept(world.builds.fetch(key, with_log=False))
    world.builds.loses_answers = True
    world.ask("cancel user-service#2")
    world.work()
    world.builds.loses_answers = False
    world.work(30)
    assert world.said == ["user-service#2 had ended already."]
    assert (world.states(), world.open_commands()) == (["done"], 0)
