"""Quiet hours, branches that flap, the pace of progress, and what ticks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.domain.builds import BuildStatus, Stage, StageStatus
from bot.domain.cards import Card
from bot.domain.events import Event
from bot.domain.noise import QuietHours, Threshold
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Milestone, Route
from bot.errors import OutcomeUnknown, RateLimited
from tests.fakes import EPOCH, Call
from tests.services.world import CI, World
from tests.stores import event_of

pytestmark = pytest.mark.one_engine

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
ALL = Route("routes[0]", Match(), ("ci",))
NIGHT = QuietHours(time(3), time(5))  # EPOCH is four in the morning
FLAPPING = replace(ALL, flapping=Threshold(2, 3600.0), mention=("slack:U7",))
CRITICAL = Route("routes[1]", Match(), ("ci",), when=frozenset({Milestone.FAILED}), critical=True)


def quiet_place(**more: object) -> Mapping[str, DestinationSettings]:
    """#ci, where nothing is posted from three to five."""
    return {"ci": replace(DestinationSettings("ci", "slack:#ci", quiet_hours=NIGHT), **more)}  # type: ignore[arg-type]


def notices(world: World) -> list[Call]:
    """The remarks that were posted."""
    return [call for call in world.messenger.calls if not isinstance(call.content, Card)]


def run(world: World, number: int, status: BuildStatus, *, at: float, **more: object) -> None:
    """Let a build begin and end within a minute, and be shown."""
    world.clock.at = EPOCH + timedelta(seconds=at)
    world.accept(event_of(number, at=at, **more))  # type: ignore[arg-type]
    world.accept(event_of(number, status, at=at + 50, started=at, **more))  # type: ignore[arg-type]
    world.deliver(50)


# --- quiet hours


def test_a_card_of_the_night_is_posted_in_the_morning(make_world: Callable[..., World]) -> None:
    """Only its newest state, at the first minute after the hours; until then its row says why it waits."""
    world = make_world(destinations=quiet_place())
    world.accept(event_of())
    world.deliver(60)
    world.accept(event_of(status=FAILED, at=60, started=0))
    world.deliver(3500)
    assert world.messenger.calls == []
    assert world.card().reason == "held:quiet_hours"
    world.deliver(60)
    assert [call.title for call in world.messenger.calls] == [
        "user-service #12 · failed",
        "user-service#12 failed on main",
    ]
    assert world.messenger.calls[0].at >= EPOCH + timedelta(hours=1)


def test_what_stands_is_changed_in_the_night_and_its_notice_waits(make_world: Callable[..., World]) -> None:
    """An edit rings nowhere, so that whoever looks sees how things stand; the notice rings in the morning."""
    world = make_world(destinations=quiet_place())
    world.clock.at = EPOCH - timedelta(hours=2)
    world.accept(event_of(at=-7200))
    world.deliver(10)
    world.clock.at = EPOCH
    world.accept(event_of(status=FAILED, at=0, started=-7200))
    world.deliver(60)
    assert world.operations() == ["post", "update"]
    assert world.card(slot="notice").reason == "held:quiet_hours"
    world.deliver(3600)
    assert [call.parent for call in notices(world)] == [world.card().message_ref]


def test_what_is_critical_is_not_held(make_world: Callable[..., World]) -> None:
    """A failure that a critical route sends is posted at once, with its notice; a card without it waits."""
    world = make_world(routes=(ALL, CRITICAL), destinations=quiet_place())
    world.accept(event_of())
    world.accept(event_of(13, at=1))
    world.deliver(30)
    assert world.messenger.calls == []
    world.accept(event_of(status=FAILED, at=60, started=0))
    world.deliver(30)
    assert world.messenger.titles(CI) == ["user-service #12 · failed", "user-service#12 failed on main"]
    assert world.card(13).reason == "held:quiet_hours"


def test_hours_that_except_nothing_hold_what_is_critical(make_world: Callable[..., World]) -> None:
    """With `except: []` all is held."""
    strict = quiet_place(quiet_hours=replace(NIGHT, spares_critical=False))
    world = make_world(routes=(CRITICAL,), destinations=strict)
    world.accept(event_of(status=FAILED))
    world.deliver(30)
    assert world.messenger.calls == []


def test_hours_of_a_route_outrank_those_of_its_place(make_world: Callable[..., World]) -> None:
    """A route says when it is quiet, whatever the place says."""
    world = make_world(routes=(replace(ALL, quiet_hours=QuietHours(time(12), time(13))),), destinations=quiet_place())
    world.accept(event_of())
    world.deliver()
    assert world.operations() == ["post"]


def test_hours_are_those_of_the_place(make_world: Callable[..., World]) -> None:
    """Four in the morning in London is noon in Shanghai: ten in the evening there is held to eight of its clocks."""
    shanghai = ZoneInfo("Asia/Shanghai")
    hours = QuietHours(time(22), time(8))
    world = make_world(destinations=quiet_place(timezone="Asia/Shanghai", quiet_hours=hours))
    world.accept(event_of())
    world.deliver(60)
    assert world.operations() == ["post"]
    world.clock.at = datetime(2026, 11, 21, 22, 30, tzinfo=shanghai).astimezone(UTC)
    world.accept(event_of(13, at=60))
    world.deliver(12 * 3600)
    assert world.messenger.calls[-1].at >= datetime(2026, 11, 22, 8, tzinfo=shanghai)


def test_a_post_in_doubt_is_looked_for_in_the_night(make_world: Callable[..., World]) -> None:
    """It may stand there already: that is not left open until the morning."""
    world = make_world(destinations=quiet_place())
    world.clock.at = EPOCH - timedelta(hours=1, seconds=1)
    world.messenger.fail(CI, OutcomeUnknown("slack", "no_answer"), is_done=True)
    world.accept(event_of(at=-3601))
    world.deliver(30)
    assert world.operations() == ["post"]
    assert world.card().reason in ("found", "unchanged", "sent")


def test_a_digest_keeps_quiet_hours_too(make_world: Callable[..., World]) -> None:
    """The storm of a night is a few cards and one digest in the morning."""
    world = make_world(routes=(replace(ALL, group=Threshold(2, 60.0)),), destinations=quiet_place())
    for number in range(1, 31):
        world.accept(event_of(number, FAILED, at=float(number)))
    world.deliver(60)
    assert world.messenger.calls == []
    world.deliver(3700)
    cards = [call.title for call in world.messenger.calls if isinstance(call.content, Card)]
    assert sorted(cards) == ["Many builds at once: 28", "user-service #1 · failed", "user-service #2 · failed"]


# --- flapping


def test_a_branch_that_flaps_calls_once_in_its_window(make_world: Callable[..., World]) -> None:
    """After the second turn too many its cards say so; one notice goes, and the next one after an hour."""
    world = make_world(routes=(FLAPPING,))
    for number in range(1, 13):
        run(world, number, FAILED if number % 2 else SUCCESS, at=number * 300.0)
    said = [call.title.partition(" ")[0].partition("#")[2] for call in notices(world)]
    assert said == ["1", "2", "3", "4"]
    assert world.card(12, slot="notice").reason == "held:flapping"
    world.deliver(3600)
    assert world.card(6, slot="notice").reason == "filtered:flapping"
    assert [call.title for call in notices(world)][4:] == ["user-service#12 fixed on main"]
    assert world.messenger.calls[-1].at >= EPOCH + timedelta(seconds=4 * 300 + 3600)


def test_a_card_says_that_its_branch_flaps(make_world: Callable[..., World]) -> None:
    """How often it turned, and within how long; one that does not flap says nothing."""
    world = make_world(routes=(FLAPPING,))
    for number in range(1, 7):
        run(world, number, FAILED if number % 2 else SUCCESS, at=number * 300.0)
    fields: dict[str, list[tuple[str, str]]] = {}
    for call in world.messenger.calls:
        if isinstance(call.content, Card):
            texts = [(field.label, getattr(field.value[0], "text", "")) for field in call.content.fields]
            fields[call.title.partition(" ·")[0]] = texts
    assert ("Flapping", "5 changes in 1 h") in fields["user-service #6"]
    assert "Flapping" not in dict(fields["user-service #3"])


def test_branches_flap_apart_and_a_calm_hour_ends_it(make_world: Callable[..., World]) -> None:
    """Another branch calls as ever, and so does the same one when its turns are past."""
    world = make_world(routes=(FLAPPING,))
    for number in range(1, 6):
        run(world, number, FAILED if number % 2 else SUCCESS, at=number * 300.0)
    run(world, 20, FAILED, at=1900.0, branch="topic")
    assert notices(world)[-1].title == "user-service#20 failed on topic"
    run(world, 30, FAILED, at=20_000.0)
    run(world, 31, SUCCESS, at=20_300.0)
    assert [call.title for call in notices(world)][-2:] == [
        "user-service#30 failed on main",
        "user-service#31 fixed on main",
    ]


def test_a_flapping_notice_that_was_put_off_is_not_lost(make_world: Callable[..., World]) -> None:
    """The window begins when a notice was sent, not when the platform refused it."""
    world = make_world(routes=(FLAPPING,))
    for number in range(1, 4):
        run(world, number, FAILED if number % 2 else SUCCESS, at=number * 300.0)
    world.clock.at = EPOCH + timedelta(seconds=1200)
    world.accept(event_of(4, SUCCESS, at=1250.0, started=1200.0))
    world.messenger.place_interval_s = 0.0
    world.messenger.account = {}
    (work,) = world.claim()
    world.deliverer.carry_out(work)  # the card; the notice is next
    world.messenger.fail(CI, RateLimited("slack", "ratelimited", 20.0, scope="place"))
    world.deliver(60)
    assert notices(world)[-1].title == "user-service#4 fixed on main"


def test_where_each_state_is_a_post_flapping_ones_call_nobody(make_world: Callable[..., World]) -> None:
    """The end is posted all the same, with its mentions once in a window."""
    world = make_world(routes=(FLAPPING,))
    world.messenger.can_edit = world.messenger.can_thread = False
    for number in range(1, 8):
        run(world, number, FAILED if number % 2 else SUCCESS, at=number * 300.0, log="E boom")
    finals = [
        call.content for call in world.messenger.calls if isinstance(call.content, Card) and call.content.is_final
    ]
    assert [bool(card.footer) for card in finals] == [True, True, True, True, False, False, False]


# --- the pace of progress, and what ticks


@pytest.mark.parametrize(
    ("route_s", "place_s", "updates"), [(30.0, None, 2), (None, 30.0, 2), (5.0, 30.0, 12), (None, None, 30)]
)
def test_progress_comes_at_the_pace_of_its_route(
    route_s: float | None, place_s: float | None, updates: int, make_world: Callable[..., World]
) -> None:
    """A route's pace outranks its place's, and that the one for all; the end never waits for it."""
    place = DestinationSettings("ci", "slack:#ci", progress_interval_s=place_s)
    world = make_world(routes=(replace(ALL, progress_interval_s=route_s),), destinations={"ci": place})
    world.accept(event_of())
    for second in range(60):
        world.accept(event_of(at=float(second), started=0, commit_title=f"step {second}"))
        world.deliver(1)
    assert abs(world.operations().count("update") - updates) <= 1
    world.accept(event_of(status=SUCCESS, at=61, started=0))
    world.deliver(1)
    assert world.messenger.titles(CI)[-1] == "user-service #12 · succeeded"


def ticking(second: int) -> Event:
    """What some CI systems send every second of a running build: times that grow, and nothing else."""
    event = event_of(at=float(second), started=0)
    stages = (Stage("tests", StageStatus.RUNNING, float(second)), Stage("package", StageStatus.PENDING, 0.0))
    now = EPOCH + timedelta(seconds=second)
    return replace(event, facts=replace(event.facts, stages=stages, finished_at=now, summary=f"{second} s so far"))


def test_what_ticks_is_no_change(world: World) -> None:
    """Durations of what runs and ends that have not come cost no call: the card looks the same."""
    for second in range(1, 61):
        world.accept(ticking(second))
        world.deliver(1)
    assert world.operations() == ["post"]
    assert world.card().reason == "unchanged"
    world.accept(event_of(status=SUCCESS, at=62, started=0))
    world.deliver(5)
    assert world.operations() == ["post", "update"]
