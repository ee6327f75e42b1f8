"""What is given up is told to those who run Shipmate: once a cause and hour, and never about a notice itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from bot.domain.builds import BuildStatus
from bot.domain.cards import Notice
from bot.domain.places import DestinationSettings, Place
from bot.domain.routing import Match, Route
from bot.errors import AuthFailed, DestinationGone, IntegrationError, Rejected, Unavailable
from bot.ports import DeliveryQuery, DeliveryRecord
from bot.services.dead_letters import DeadLetters
from bot.services.delivery import Deliverer
from bot.services.presenters.causes import label_of
from tests.fakes import FakeIds, FakeMessenger
from tests.services.world import CI, World
from tests.stores import event_of, key_of

ADMIN = "slack:T/ops"
HOUR = timedelta(hours=1).total_seconds()
PLACES = {
    "ci": DestinationSettings("ci", "slack:#ci"),
    "dev": DestinationSettings("dev", "slack:#dev"),
    "ops": DestinationSettings("ops", "slack:#ops"),
}


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world whose #ops is told."""
    return make_world(destinations=PLACES, admin="ops")


def _bury(world: World, number: int, reason: str = "not_in_channel", place: str = CI) -> None:
    """A build whose card is refused for good."""
    world.messenger.fail(place, DestinationGone("slack", reason))
    world.accept(event_of(number))
    world.deliver(5)
    world.messenger.fails.clear()


def _told(world: World) -> list[str]:
    return [str(call.title) for call in world.messenger.calls if call.place == ADMIN]


def _dead(world: World) -> list[DeliveryRecord]:
    return list(world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(is_dead=True), 100)))


def _counted(reason: str) -> float:
    return REGISTRY.get_sample_value("shipmate_dead_letters_total", {"platform": "slack", "reason": reason}) or 0.0


def test_the_admin_is_told_once_for_many_cards_of_one_cause(world: World) -> None:
    """What died, where, why and what to do, as a post of its own; the others within the hour are not told of."""
    before = _counted("not_in_channel")
    for number in range(1, 6):
        _bury(world, number)
    assert len(_dead(world)) == 5
    assert _counted("not_in_channel") - before == 5
    (told,) = _told(world)
    assert told == (
        "Given up · user-service#1 (card) → #ci (slack) · Shipmate is not a member of the channel. "
        "Invite it there, then replay. · dead:not_in_channel"
    )
    notice = next(call for call in world.messenger.calls if call.place == ADMIN)
    assert isinstance(notice.content, Notice)
    assert notice.parent is None
    assert notice.content.excerpt is not None
    assert "shipmate dead replay --reason not_in_channel --destination '#ci'" in notice.content.excerpt.body


def test_another_reason_is_another_cause(world: World) -> None:
    """Each has a notice of its own."""
    _bury(world, 1)
    _bury(world, 2, "is_archived")
    assert len(_told(world)) == 2


@pytest.mark.parametrize("can_edit", [True, False], ids=["changed", "robot"])
def test_one_cause_in_thirty_channels_is_one_notice(make_world: Callable[..., World], can_edit: bool) -> None:
    """What notifies is the first; the others are added to what stands there, where that can be changed."""
    names = [f"c{number:02}" for number in range(30)]
    world = make_world(
        destinations={**PLACES, **{name: DestinationSettings(name, f"slack:#{name}") for name in names}},
        admin="ops",
        routes=[Route("routes[0]", Match(), tuple(names))],
    )
    for name in names:
        world.messenger.fail(f"slack:T/{name}", DestinationGone("slack", "not_in_channel"))
    world.messenger.can_edit = can_edit
    world.accept(event_of(1))
    world.deliver(600)
    assert len(_dead(world)) == 30
    calls = [call for call in world.messenger.calls if call.place == ADMIN]
    assert [call.operation.value for call in calls].count("post") == 1
    if can_edit:
        (standing,) = world.messenger.standing(ADMIN)
        assert sum(f"#{name}" in standing for name in names) == 20
        assert "… and 10 more (slack)" in standing
        assert isinstance(calls[-1].content, Notice)
        assert calls[-1].content.excerpt is not None
        assert "shipmate dead replay --reason not_in_channel" in calls[-1].content.excerpt.body
        assert "--destination" not in calls[-1].content.excerpt.body
    else:
        assert len(calls) == 1


def test_after_an_hour_the_same_cause_is_told_again(world: World) -> None:
    """As a new post, which notifies; it names what died last."""
    _bury(world, 1)
    world.clock.advance(HOUR - 60)
    _bury(world, 2)
    assert len(_told(world)) == 1
    world.clock.advance(120)
    _bury(world, 3)
    assert [told.partition(" (")[0] for told in _told(world)] == [
        "Given up · user-service#1",
        "Given up · user-service#3",
    ]
    assert [call.operation.value for call in world.messenger.calls if call.place == ADMIN] == ["post", "post"]


def test_the_hour_survives_a_restart_and_holds_for_all_workers(world: World) -> None:
    """It stands in the database, not in a process."""
    _bury(world, 1)
    addresses = frozenset(place.address for place in PLACES.values())
    letters = DeadLetters(PLACES["ops"])
    platforms = {"slack": world.messenger}
    world.deliverer = Deliverer(world.store, world.clock, FakeIds(1000), platforms, addresses, dead_letters=letters)
    _bury(world, 2)
    assert len(_dead(world)) == 2
    assert len(_told(world)) == 1


def test_a_notice_that_dies_causes_no_other(world: World) -> None:
    """It is a dead letter like any other, and the end of it."""
    world.messenger.fail(ADMIN, Rejected("slack", "restricted_action"))
    _bury(world, 1)
    world.deliver(60)
    assert _told(world) == []
    assert {(one.card.destination, one.card.reason) for one in _dead(world)} == {
        (CI, "dead:not_in_channel"),
        (ADMIN, "dead:restricted_action"),
    }


def test_a_notice_waits_for_its_platform_like_any_post(world: World) -> None:
    """An outage at the admin's place delays the notice; it comes once."""
    world.messenger.fail(ADMIN, Unavailable("slack", "unreachable"))
    world.messenger.fail(CI, DestinationGone("slack", "not_in_channel"))
    world.accept(event_of(1))
    world.deliver(60)
    assert len(_told(world)) == 1


def test_a_card_and_its_notice_are_given_up_together(world: World) -> None:
    """What follows from a dead card is listed, and told of with it."""
    world.messenger.fail(CI, *[DestinationGone("slack", "not_in_channel")] * 3)
    world.accept(event_of(1, BuildStatus.FAILED))
    world.deliver(60)
    assert {one.card.reason for one in _dead(world)} == {"dead:not_in_channel", "dead:no_card"}
    assert len(_told(world)) == 1


def test_without_an_admin_nobody_is_told(make_world: Callable[..., World]) -> None:
    """The dead letter stands all the same."""
    world = make_world(destinations=PLACES)
    _bury(world, 1)
    assert _told(world) == []
    assert len(_dead(world)) == 1


def test_an_admin_that_is_not_resolved_yet_is_told_later(make_world: Callable[..., World]) -> None:
    """The notice waits at the address and moves along when the place is found."""
    world = make_world(destinations=PLACES, admin="ops", is_resolved=False)
    world.messenger.unknown.add("slack:#ops")
    _bury(world, 1)
    world.messenger.unknown.clear()
    world.deliver(120)
    assert len(_told(world)) == 1


def test_an_admins_channel_that_was_made_again_is_told(world: World) -> None:
    """The notice goes to the channel that has the name now, and nothing is lost."""
    world.messenger.gone.add(ADMIN)
    world.messenger.moved["slack:#ops"] = "slack:T/ops-made-again"
    _bury(world, 1)
    world.deliver(60)
    assert [call.title[:8] for call in world.messenger.calls if call.place == "slack:T/ops-made-again"] == ["Given up"]
    assert [one.card.destination for one in _dead(world)] == [CI]


@pytest.fixture
def lost(make_world: Callable[..., World]) -> World:
    """A world whose #ci is in the file and nowhere else; #ops is told."""
    world = make_world(destinations=PLACES, admin="ops", is_resolved=False)
    world.messenger.unknown.add("slack:#ci")
    return world


def test_the_admin_is_told_of_a_channel_that_is_not_found(lost: World) -> None:
    """Once an hour, however often it is looked for and however many cards wait; they come when it is there."""
    for number in (1, 2):
        lost.accept(event_of(number))
    lost.deliver(HOUR - 60)
    (told,) = _told(lost)
    assert told == (
        "Not found · #ci (slack) · There is no such channel, or Shipmate was not invited to it. "
        "What is wanted there waits, and is posted as soon as the place is found. · unresolved:channel_not_found"
    )
    lost.deliver(180)
    assert len(_told(lost)) == 2
    lost.messenger.unknown.clear()
    lost.deliver(120)
    assert sorted(lost.messenger.standing(CI)) == ["user-service #1 · running", "user-service #2 · running"]
    lost.deliver(2 * HOUR)
    assert len(_told(lost)) == 2
    assert _dead(lost) == []


def test_a_token_that_stays_revoked_for_days_gives_nothing_up(make_world: Callable[..., World]) -> None:
    """Somebody may come back on Monday; those who run Shipmate are told at once, and then daily."""
    world = make_world(destinations=PLACES, admin="ops")
    world.messenger.fail(CI, *[AuthFailed("slack", "token_revoked")] * 400)
    world.accept(event_of())
    world.deliver(5)
    (told,) = _told(world)
    assert told.startswith("No access · #ci (slack) · The platform refuses Shipmate's credentials.")
    for _ in range(72):
        world.deliver(10)
        world.clock.advance(3600)
    assert not world.card().is_dead
    assert len(_told(world)) == 3
    world.messenger.fails.clear()
    world.deliver(120)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]


def test_another_accounts_credential_is_told_at_once(make_world: Callable[..., World]) -> None:
    """It is to be mended by itself; all channels of one account are one notice."""
    places = {**PLACES, "far": DestinationSettings("far", "slack:#far")}
    world = make_world(destinations=places, admin="ops", is_resolved=False, routes=[Route("", Match(), ("ci", "far"))])
    world.messenger.moved["slack:#far"] = far = "slack:T2/far"
    for place in (CI, far):
        world.messenger.fail(place, *[AuthFailed("slack", "token_revoked")] * 100)
    world.accept(event_of())
    world.deliver(300)
    assert sorted(told.partition(" (")[0] for told in _told(world)) == ["No access · #ci", "No access · #far"]


def test_a_credential_that_is_refused_again_after_it_was_mended_is_told_again(
    make_world: Callable[..., World],
) -> None:
    """At once, but for the hour after it was told; a refusal that lasts is told daily."""
    world = make_world(destinations=PLACES, admin="ops")
    refusal = AuthFailed("slack", "token_revoked")

    def refuse_and_mend(number: int) -> None:
        world.messenger.fail(CI, *[refusal] * 3)
        world.accept(event_of(number))
        world.deliver(600)
        assert not world.messenger.fails[CI]

    for number in (1, 2):  # twice within an hour
        refuse_and_mend(number)
    assert len(_told(world)) == 1
    world.clock.advance(HOUR)
    refuse_and_mend(3)
    assert len(_told(world)) == 2
    world.clock.advance(HOUR)
    world.messenger.fail(CI, *[refusal] * 1000)
    world.accept(event_of(4))
    world.deliver(5 * HOUR)
    assert len(_told(world)) == 3


def test_each_cause_of_a_channel_that_is_not_found_is_told(lost: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are refused are another cause; what passes by itself is none."""
    problems: list[IntegrationError] = [Unavailable("slack", "unreachable"), AuthFailed("slack", "missing_scope")]
    resolve = type(lost.messenger).resolve

    def fail_first(messenger: FakeMessenger, address: str) -> Place:
        if address == "slack:#ci" and problems:
            raise problems.pop(0)
        return resolve(messenger, address)

    monkeypatch.setattr(FakeMessenger, "resolve", fail_first)
    lost.accept(event_of(1))
    lost.deliver(200)
    assert [told.rpartition(" · ")[2] for told in _told(lost)] == [
        "unresolved:missing_scope",
        "unresolved:channel_not_found",
    ]


def test_nobody_is_told_that_the_admins_own_channel_is_not_found(lost: World) -> None:
    """There is nowhere to say it."""
    lost.messenger.unknown.add("slack:#ops")
    lost.accept(event_of(1))
    lost.deliver(120)
    lost.messenger.unknown.remove("slack:#ops")
    lost.deliver(120)
    assert [told.partition(" (")[0] for told in _told(lost)] == ["Not found · #ci"]


def test_the_notice_is_in_the_admins_language(make_world: Callable[..., World]) -> None:
    """Chinese words, and the same command."""
    ops = DestinationSettings("ops", "slack:#ops", "zh-CN", "Asia/Shanghai")
    world = make_world(destinations={**PLACES, "ops": ops}, admin="ops")
    _bury(world, 1)
    (told,) = _told(world)
    assert told == (
        "已放弃 · user-service#1 (卡片) → #ci (slack) · Shipmate 不是该频道的成员。请邀请它加入，然后重放。"
        " · dead:not_in_channel"
    )


def test_the_platforms_words_stay_with_the_attempt(world: World) -> None:
    """What no reason of ours tells is kept as the platform said it."""
    world.messenger.fail(CI, Rejected("slack", "other", "some_new_error"))
    world.accept(event_of(1))
    world.deliver(5)
    card = world.card(1)
    (attempt,) = world.store.read(lambda tx: tx.inspection.attempts(card.id, 5))
    assert (attempt.outcome, attempt.detail) == ("dead:other", "some_new_error")


def test_what_is_given_up_without_an_attempt_is_told_too(world: World) -> None:
    """A card whose build is gone from the database."""
    world.accept(event_of(1))
    with world.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM subjects")
    before = _counted("subject_gone")
    world.deliver(5)
    assert _counted("subject_gone") - before == 1
    assert str(key_of(1).short) in _told(world)[0]


def test_unknown_reasons_are_counted_as_others() -> None:
    """Labels stay few, whatever a platform says."""
    assert (label_of("not_in_channel"), label_of("made_up_by_a_platform")) == ("not_in_channel", "other")
