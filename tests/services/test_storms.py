"""Storms: what is too much for a place stands in one digest there, to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Lines, Paragraph
from bot.domain.events import Event
from bot.domain.noise import Threshold
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Milestone, Route
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import Rejected, Unavailable
from bot.ports import CardRecord
from bot.services.dispatcher import carry_out
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage import groups
from tests.fakes import Call
from tests.services.world import CI, World
from tests.stores import event_of, fresh_store

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
GROUPED = Route("routes[0]", Match(), ("ci",), group=Threshold(3, 60.0))
CALLING = replace(GROUPED, mention=("slack:U7",))


def start(world: World, numbers: Sequence[int]) -> None:
    """Let builds begin, one right after the other."""
    for number in numbers:
        world.accept(event_of(number, at=float(number)))


def end(world: World, number: int, status: BuildStatus = SUCCESS, *, at: float = 500.0) -> None:
    """Let a build end."""
    world.accept(event_of(number, status, at=at, started=float(number)))


def digests(world: World, place: str = CI) -> list[Card]:
    """The digests that stand at a place, in the order of their posts."""
    standing = [call.content for (at, _), call in world.messenger.posts.items() if at == place]
    return [one for one in standing if isinstance(one, Card) and one.subject.startswith("digest:")]


def counts(card: Card) -> str:
    """The line of a digest that counts."""
    paragraph = card.sections[0]
    assert isinstance(paragraph, Paragraph)
    return "".join(getattr(part, "text", "") for part in paragraph.body)


def lines(card: Card) -> list[str]:
    """The builds that a digest lists."""
    items = [item for section in card.sections if isinstance(section, Lines) for item in section.items]
    return ["".join(getattr(part, "text", "") for part in item) for item in items]


def digest_card(world: World) -> CardRecord:
    """The row of the digest that takes the builds of the place now."""
    key = world.store.read(lambda tx: tx.noise.storm(CI)).digest
    return world.store.read(lambda tx: tx.cards.of_subject(key))[0]


def notices(world: World) -> list[Call]:
    """The remarks that were posted."""
    return [call for call in world.messenger.calls if not isinstance(call.content, Card)]


def test_what_is_too_much_is_one_card(make_world: Callable[..., World]) -> None:
    """The first cards open one by one, the others are lines of one digest, which costs few calls."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 41))
    world.deliver(30)
    (digest,) = digests(world)
    assert world.operations() == ["post"] * 4
    assert digest.title == "Many builds at once: 37"
    assert counts(digest) == "⏳ 37 running"
    assert lines(digest)[0] == "⏳ user-service#4 running · main"
    assert (world.card(40).reason, world.card(3).reason) == ("folded:digest", "sent")


def test_every_end_is_seen_in_the_digest(make_world: Callable[..., World]) -> None:
    """The digest follows its builds as a card does, those that failed first, and is final when all have ended."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 8))
    world.deliver(10)
    end(world, 4)
    end(world, 6, FAILED)
    world.deliver(10)
    (digest,) = digests(world)
    assert counts(digest) == "❌ 1 failed · ⏳ 2 running · ✅ 1 succeeded"
    assert lines(digest)[0] == "❌ user-service#6 failed · main"
    assert not digest_card(world).is_final
    end(world, 5)
    end(world, 7)
    world.deliver(10)
    (digest,) = digests(world)
    assert counts(digest) == "❌ 1 failed · ✅ 3 succeeded"
    assert (digest.is_final, digest_card(world).is_final, digest_card(world).shown_final) == (True, True, True)
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_a_digest_that_was_given_up_takes_no_more(make_world: Callable[..., World]) -> None:
    """It was refused for good: what comes then stands in another one."""
    world = make_world(routes=(GROUPED,))
    start(world, range(3))
    world.deliver(10)
    world.messenger.fail(CI, Rejected("slack", "invalid_blocks"))
    start(world, [3])
    world.deliver(10)
    assert digest_card(world).is_dead
    start(world, range(4, 8))
    world.deliver(10)
    assert not digest_card(world).is_dead
    (shown,) = digests(world)
    assert len(lines(shown)) == 4


def test_cards_open_one_by_one_again_when_fewer_come(make_world: Callable[..., World]) -> None:
    """The storm is over when the window holds fewer; a further one is a digest of its own."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 6))
    world.deliver(61)
    start(world, range(11, 14))
    world.deliver(10)
    assert [world.card(number).reason for number in (11, 12, 13)] == ["sent"] * 3
    start(world, range(21, 23))
    world.deliver(10)
    assert [digest.title for digest in digests(world)] == ["Many builds at once: 2"] * 2


def test_a_storm_that_goes_on_stays_in_its_digest_for_ten_windows(make_world: Callable[..., World]) -> None:
    """A steady stream is no flood of digests: one takes it on, and another one after ten windows."""
    world = make_world(routes=(GROUPED,))
    for number in range(1, 132):
        world.accept(event_of(number, at=number * 5.0))
        world.deliver(5)
    assert len(digests(world)) == 2
    assert sum(int(digest.title.rpartition(" ")[2]) for digest in digests(world)) == 128


def test_a_failure_in_the_digest_calls_its_people_once(make_world: Callable[..., World]) -> None:
    """The notice stands in the digest's thread, whatever is told again; a success calls nobody."""
    world = make_world(routes=(CALLING,))
    start(world, range(1, 6))
    world.deliver(5)
    for _ in range(2):
        end(world, 4, FAILED)
        end(world, 5, BuildStatus.CANCELLED)
        world.deliver(10)
    (notice,) = notices(world)
    assert notice.title == "user-service#4 failed on main"
    assert notice.parent == digest_card(world).message_ref


def test_a_failure_that_calls_nobody_has_no_remark_beside_the_digest(make_world: Callable[..., World]) -> None:
    """Forty failures are not forty posts in a thread; the digest tells them."""
    world = make_world(routes=(replace(GROUPED, thread_log=True),))
    for number in range(1, 6):
        world.accept(event_of(number, FAILED, at=float(number), log="E boom"))
    world.deliver(30)
    assert len(notices(world)) == 6  # a notice and a log for each of the three that stand alone
    assert world.card(5, slot="notice").reason == world.card(5, slot="thread:log").reason == "folded:digest"
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_where_nothing_can_be_changed_a_digest_gathers_first(make_world: Callable[..., World]) -> None:
    """It is posted when the storm has passed, and once more when all have ended; failures still call."""
    world = make_world(routes=(CALLING,))
    world.messenger.can_edit = world.messenger.can_thread = False
    start(world, range(1, 9))
    world.deliver(30)
    assert digest_card(world).reason == "held:storm"
    assert digests(world) == []
    world.deliver(60)
    for number in range(4, 9):
        end(world, number, FAILED if number == 8 else SUCCESS)
        world.deliver(2)
    world.deliver(60)
    assert [counts(digest) for digest in digests(world)] == ["⏳ 5 running", "❌ 1 failed · ✅ 4 succeeded"]
    assert [call.title for call in notices(world)] == ["user-service#8 failed on main"]


def test_where_nothing_can_be_changed_nobody_waits_for_the_end_of_a_storm(make_world: Callable[..., World]) -> None:
    """Two minutes after its first build a digest is posted, and takes nothing more; the next ones have another."""
    world = make_world(routes=(replace(GROUPED, group=Threshold(3, 3600.0)),))
    world.messenger.can_edit = world.messenger.can_thread = False
    for number in range(1, 12):
        world.accept(event_of(number, FAILED, at=float(number)))
        world.deliver(30)
    world.deliver(120)
    assert [int(digest.title.rpartition(" ")[2]) for digest in digests(world)] == [4, 4]
    assert len({digest.subject for digest in digests(world)}) == 2


def test_what_came_before_by_a_clock_that_is_behind_is_not_added_to_a_digest_that_is_sent(
    make_world: Callable[..., World],
) -> None:
    """It waited to be stored, or came to another machine: it would be seen in no post."""
    world = make_world(routes=(GROUPED,))
    world.messenger.can_edit = world.messenger.can_thread = False
    for number in range(1, 12):
        world.accept(event_of(number, FAILED, at=float(number)))
        world.deliver(15)
    assert len(digests(world)) == 1
    world.clock.advance(-14)
    world.accept(event_of(12, FAILED, at=12.0))
    world.clock.advance(14)
    world.deliver(130)
    assert "user-service#12" in "".join(lines(digests(world)[-1]))


def test_ends_are_seen_in_a_digest_of_a_slow_route(make_world: Callable[..., World]) -> None:
    """One end within ten seconds, the last one at once, as on cards of their own."""
    world = make_world(routes=(replace(GROUPED, progress_interval_s=600.0),))
    start(world, range(1, 6))
    world.deliver(5)
    end(world, 4, FAILED)
    world.deliver(11)
    assert counts(digests(world)[0]) == "❌ 1 failed · ⏳ 1 running"
    end(world, 5)
    world.deliver(2)
    assert counts(digests(world)[0]) == "❌ 1 failed · ✅ 1 succeeded"
    assert digest_card(world).shown_final


def test_an_end_that_comes_while_its_digest_is_shown_is_seen_soon(make_world: Callable[..., World]) -> None:
    """What was posted a moment later does not tell of it, and the next change is not a slow route's pace away."""
    world = make_world(routes=(replace(GROUPED, progress_interval_s=600.0),))
    start(world, range(1, 4))
    world.deliver(5)
    start(world, range(4, 6))
    (work,) = world.claim()
    end(world, 4, FAILED)
    carry_out(world.deliverer, work)
    assert counts(digests(world)[0]) == "⏳ 2 running"
    world.deliver(11)
    assert counts(digests(world)[0]) == "❌ 1 failed · ⏳ 1 running"


def test_a_card_that_another_route_opens_stands_alone(make_world: Callable[..., World]) -> None:
    """It is folded only where all routes that send it ask for that."""
    plain = Route("routes[1]", Match(branch=("main",)), ("ci",))
    world = make_world(routes=(GROUPED, plain))
    start(world, range(1, 6))
    world.accept(*(event_of(number, at=float(number), branch="topic") for number in range(6, 11)))
    world.deliver(30)
    assert digests(world)[0].title == "Many builds at once: 2"
    assert world.card(5).reason == "sent"


def test_a_second_attempt_goes_on_in_the_digest(make_world: Callable[..., World]) -> None:
    """A build that runs again is running there again."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 5))
    end(world, 4, FAILED)
    world.deliver(10)
    assert digests(world)[0].is_final
    world.accept(event_of(4, at=600.0, attempt=2))
    world.deliver(10)
    assert counts(digests(world)[0]) == "⏳ 1 running"
    world.accept(event_of(4, SUCCESS, at=700.0, started=600.0, attempt=2))
    world.deliver(10)
    assert counts(digests(world)[0]) == "✅ 1 succeeded"


def test_a_number_that_names_another_run_leaves_the_digest(make_world: Callable[..., World]) -> None:
    """The CI's database was made anew: the digest drops the old run, and the new one is routed for itself."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 6))
    world.deliver(120)
    world.accept(event_of(5, at=200.0, generation=7))
    world.deliver(10)
    assert digests(world)[0].title == "Many builds at once: 1"
    assert world.card(5).reason == "sent"


def test_a_digest_goes_where_its_place_is_found(make_world: Callable[..., World]) -> None:
    """What came before the channel's name was looked up stands in the same digest as what came after."""
    world = make_world(routes=(GROUPED,), is_resolved=False)
    start(world, range(1, 6))
    world.deliver(5)
    start(world, range(6, 9))
    world.deliver(10)
    assert [digest.title for digest in digests(world)] == ["Many builds at once: 5"]


def test_a_digest_is_taken_on_with_by_the_next_process(make_world: Callable[..., World]) -> None:
    """What a storm is stands in the database."""
    first = make_world(routes=(GROUPED,))
    start(first, range(1, 5))
    second = World(first.store, first.database, (GROUPED,))
    start(second, range(5, 8))
    end(second, 4, FAILED)
    second.deliver(10)
    assert [counts(digest) for digest in digests(second)] == ["❌ 1 failed · ⏳ 3 running"]


def test_events_at_the_same_moment_open_no_more_than_allowed(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight doors at once, each with projects of its own: so many cards and one digest, and all ends are seen."""
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", groups.WRITE_DEADLINE_S)  # for slow machines
    world = make_world(routes=(GROUPED,))

    def tell(project: str) -> None:
        for number in range(1, 7):
            world.accept(event_of(number, at=float(number), project=project))
            world.accept(event_of(number, SUCCESS, at=9.0, started=float(number), project=project))

    with ThreadPoolExecutor(8) as doors:
        list(doors.map(tell, [f"p{number}" for number in range(8)]))
    world.deliver(60)
    assert [counts(digest) for digest in digests(world)] == ["✅ 45 succeeded"]
    assert len(world.messenger.standing(CI)) == 4
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_two_places_storm_apart(make_world: Callable[..., World]) -> None:
    """Each place counts for itself, and its people read the digest in their language."""
    places = {"ci": DestinationSettings("ci", "slack:#ci"), "dev": DestinationSettings("dev", "slack:#dev", "zh-CN")}
    only = Route("routes[1]", Match(branch=("topic",)), ("dev",), group=Threshold(1, 60.0))
    world = make_world(routes=(GROUPED, only), destinations=places)
    for number in range(1, 4):
        world.accept(event_of(number, at=float(number), branch="topic"))
    world.deliver(10)
    assert digests(world, CI) == []
    (digest,) = digests(world, "slack:T/dev")
    assert digest.title == "同时到来的构建：2 个"


def test_a_digest_that_is_late_is_remarked_upon(make_world: Callable[..., World]) -> None:
    """How its builds ended stands in its thread when it cannot be changed in time; again when one of them ends anew."""
    world = make_world(routes=(GROUPED,))
    upkeep = Upkeep(world.store, world.clock, Signal())
    start(world, range(1, 6))
    world.deliver(10)
    end(world, 4)
    for attempt, status in ((1, FAILED), (2, SUCCESS)):
        world.accept(event_of(5, at=100.0 * attempt, attempt=attempt))
        world.deliver(10)
        world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 6)
        world.accept(event_of(5, status, at=100.0 * attempt + 9, started=100.0 * attempt, attempt=attempt))
        world.deliver(35)
        assert [upkeep.tell_overdue(), upkeep.tell_overdue()] == [1, 0]
        world.deliver(90)
    said = [call for call in world.messenger.calls if call.parent == digest_card(world).message_ref]
    assert [call.title.rpartition(" · ")[0] for call in said] == [
        "Many builds at once: 2 · ❌ 1 failed · ✅ 1 succeeded",
        "Many builds at once: 2 · ✅ 2 succeeded",
    ]


def test_lists_of_builds_leave_digests_out(make_world: Callable[..., World]) -> None:
    """`status` speaks of builds."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 6))
    newest = world.store.read(lambda tx: tx.subjects.newest(None, 20))
    assert {record.key.kind for record in newest} == {SubjectKind.BUILD}
    assert len(newest) == 5


def test_a_milestone_that_comes_later_is_judged_then(make_world: Callable[..., World]) -> None:
    """A card counts when it opens, not when its build begins."""
    world = make_world(routes=(replace(GROUPED, when=frozenset({Milestone.FAILED})),))
    start(world, range(1, 20))
    assert world.slots(5) == set()
    for number in range(1, 6):
        end(world, number, FAILED)
    world.deliver(10)
    assert counts(digests(world)[0]) == "❌ 2 failed"


@pytest.mark.slow
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(st.tuples(st.integers(1, 25), st.sampled_from([RUNNING, SUCCESS, FAILED]), st.floats(0, 30))))
def test_whatever_comes_no_end_is_lost_and_no_window_holds_too_many(
    steps: list[tuple[int, BuildStatus, float]],
) -> None:
    """Each build's newest state stands in its own card or in one digest, and few cards open in any window."""
    with fresh_store() as (store, database):
        world = World(store, database, (GROUPED,))
        told: list[Event] = []
        for at, (number, status, pause) in enumerate(steps):
            told.append(event_of(number, status, at=float(at), started=float(number)))
            world.accept(told[-1])
            world.deliver(pause)
        world.deliver(120)
        listed = [line for digest in digests(world) for line in lines(digest)]
        own = [title for title in world.messenger.standing(CI) if title.startswith("user-service")]
        for key in {event.subject for event in told}:
            said = [one for one in listed if f"{key.short} " in one]
            said += [one for one in own if f"{key.project} #{key.number} " in one]
            assert len(said) == 1
            assert _word_of(world, key) in said[0]
        opened = [
            call.at.timestamp()
            for call in world.messenger.calls
            if call.operation.value == "post" and call.title.startswith("user-service #")
        ]
        assert all(sum(at <= one < at + 55 for one in opened) <= 3 for at in opened)


def _word_of(world: World, key: SubjectKey) -> str:
    record = world.store.read(lambda tx: tx.subjects.get(key))
    assert record is not None
    if record.is_fixed:
        return "fixed"
    return {RUNNING: "running", SUCCESS: "succeeded", FAILED: "failed"}[record.build().status]


def test_a_folded_build_is_found_by_its_number(make_world: Callable[..., World]) -> None:
    """Its row tells where it stands."""
    world = make_world(routes=(GROUPED,))
    start(world, range(1, 6))
    assert world.card(5).folded_into == digest_card(world).subject
    assert world.slots(5) == {(CI, "card")}
    world.ask("explain user-service#5")
    world.work()
    assert "stands in a digest there" in str(world.answer)


def test_what_holds_a_digest_back_is_explained_with_its_builds(make_world: Callable[..., World]) -> None:
    """The build's way tells the digest's own reason and number, and that number is understood."""
    world = make_world(routes=(GROUPED,))
    start(world, range(3))
    world.deliver(10)
    world.messenger.fail(CI, Rejected("slack", "invalid_blocks"))
    start(world, [3])
    world.deliver(10)
    number = digest_card(world).id
    for asked in ("explain user-service#3", f"explain #{number}"):
        world.ask(asked, key=asked)
        world.work()
        assert f"#{number}" in str(world.answer)
        assert "dead:invalid_blocks" in str(world.answer)
