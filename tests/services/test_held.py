"""What is held back, whatever comes in which order: it has a reason that people can read, and no end of it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Lines, Notice
from bot.domain.noise import QuietHours, Threshold
from bot.domain.places import CARD_SLOT, NOTICE_SLOT, DestinationSettings, Operation, kind_of_slot
from bot.domain.routing import Match, Milestone, Route
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import CardRecord, DeliveryQuery, DeliveryRecord, SubjectRecord
from bot.services.explaining import explain
from bot.services.presenters.explain import explain_card
from bot.services.presenters.reasons import reason_words
from bot.services.router import Router
from tests.services.world import CI, World
from tests.stores import NOW, event_of, fresh_store

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
WORDS = {RUNNING: "running", SUCCESS: "succeeded", FAILED: "failed", BuildStatus.CANCELLED: "cancelled"}
PROJECTS = ("web", "user-service")
SHORT_NIGHT = QuietHours(time(4, 5), time(4, 20))  # EPOCH is four o'clock
HORIZON_S = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a route asks for, and what its place can do."""

    group: bool
    quiet: bool
    flapping: bool
    pace: bool
    mention: bool
    can_edit: bool
    is_budgeted: bool

    def world(self, store: object, database: object) -> World:
        """A world with one route of these wishes."""
        route = Route(
            "routes[0]",
            Match(),
            ("ci",),
            when=frozenset({Milestone.STARTED, Milestone.FINISHED}),
            mention=("slack:U7",) if self.mention else (),
            group=Threshold(2, 120.0) if self.group else None,
            flapping=Threshold(2, 3600.0) if self.flapping else None,
            quiet_hours=SHORT_NIGHT if self.quiet else None,
            progress_interval_s=30.0 if self.pace else None,
        )
        places = {"ci": DestinationSettings("ci", "slack:#ci")}
        world = World(store, database, (route,), places)  # type: ignore[arg-type]  # what fresh_store gives
        world.messenger.can_edit = world.messenger.can_thread = self.can_edit
        if self.is_budgeted:
            windows = {operation: (Window(f"slack:T:{operation}", 6),) for operation in Operation}
            world.messenger.account = windows
        return world


STEPS = st.tuples(
    st.sampled_from(PROJECTS),
    st.integers(1, 4),  # the build's number
    st.sampled_from([RUNNING, RUNNING, FAILED, FAILED, SUCCESS, SUCCESS, BuildStatus.CANCELLED]),
    st.sampled_from([0.0, 0.0, 1.0, 7.0, 40.0, 200.0, 900.0]),  # seconds until the next event
    st.integers(1, 2),  # the attempt
)


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.builds(Wishes, *[st.booleans()] * 7),
    st.lists(STEPS, min_size=1, max_size=25),
)
@example(Wishes(True, True, True, True, True, True, True), [("web", n % 4 + 1, FAILED, 7.0, 1) for n in range(8)])
def test_what_is_held_has_a_reason_and_no_end_is_lost(
    wishes: Wishes, steps: list[tuple[str, int, BuildStatus, float, int]]
) -> None:
    """At any moment whatever waits says why; after all windows each end stands on its card or in a digest, once."""
    with fresh_store() as (store, database):
        world = wishes.world(store, database)
        for at, (project, number, status, pause_s, attempt) in enumerate(steps):
            began = 10.0 * number + 1000.0 * attempt
            event = event_of(number, status, at=began + at, started=began, attempt=attempt, project=project)
            world.accept(event)
            world.deliver()
            assert_all_waiting_is_explained(world)
            world.deliver(pause_s)
        end_all(world)
        world.deliver(HORIZON_S)
        assert pending(world) == []
        for record in builds(world):
            assert_end_is_shown(world, record)
        assert_newest_turns_were_called(world, wishes)


def end_all(world: World) -> None:
    """Let the builds end that still run."""
    for at, record in enumerate(list(builds(world))):
        if not record.folded.is_finished:
            number, attempt, began = record.key.number, record.folded.attempt, record.folded.ordered_at - NOW
            status = FAILED if at % 3 else SUCCESS
            project = record.key.project
            world.accept(event_of(number, status, at=began + 100, started=began, attempt=attempt, project=project))


def pending(world: World) -> list[DeliveryRecord]:
    """What is wanted and not shown."""
    return list(world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(is_pending=True), 500)))


def assert_all_waiting_is_explained(world: World) -> None:
    """Each slot that waits has a named reason with words, and a time at which it is looked at again."""
    now = world.clock.now().timestamp()
    for one in pending(world):
        family = one.reason.partition(":")[0]
        is_next_in_its_place = one.reason == "" and one.place_free_at > now
        assert family in ("held", "waiting", "paused") or is_next_in_its_place, one
        assert one.next_try_at is not None
        assert one.next_try_at > now, one
        assert reason_words(one.reason, "en") not in ("", one.reason)
        key = SubjectKey.parse(one.card.subject)
        if key.kind is SubjectKind.BUILD:
            assert reason_words(one.reason, "en") in explained(world, key)


def explained(world: World, key: SubjectKey) -> str:
    """What `explain` says of a build."""
    router = Router(world.routes, world.destinations)
    story = world.store.read(lambda tx: explain(tx, router, key))
    return str(explain_card(story, world.clock.now().timestamp(), "en", "UTC"))


def builds(world: World) -> Iterator[SubjectRecord]:
    """All builds that were told of."""
    for record in world.store.read(lambda tx: tx.subjects.newest(None, 100)):
        if record.key.kind is SubjectKind.BUILD:
            yield record


def slots_of(world: World, record: SubjectRecord) -> dict[str, CardRecord]:
    """A build's slots at #ci."""
    found = world.store.read(lambda tx: tx.cards.of_subject(str(record.key)))
    return {card.slot: card for card in found if card.destination == CI}


def assert_end_is_shown(world: World, record: SubjectRecord) -> None:
    """Its newest state is the last thing that its own card, or the one digest that holds it, says."""
    card = slots_of(world, record)[CARD_SLOT]
    word = WORDS[record.build().status]
    words = (word, "fixed") if word == "succeeded" else (word,)
    subject = card.folded_into or card.subject
    shown = [call.content for call in world.messenger.calls if isinstance(call.content, Card)]
    last = [content for content in shown if content.subject == subject][-1]
    if card.folded_into is None:
        assert last.title.rpartition(" · ")[2] in words, (last.title, word)
        assert not [one for one in shown if one.subject.startswith("digest:") and _line(one, record.key)]
    else:
        assert any(f" {one}" in _line(last, record.key) for one in words), (last, word)
        assert not [one for one in shown if one.subject == card.subject]


def _line(digest: Card, key: SubjectKey) -> str:
    items = [item for section in digest.sections if isinstance(section, Lines) for item in section.items]
    lines = ["".join(getattr(part, "text", "") for part in item) for item in items]
    return next((line for line in lines if f"{key.short} " in line), "")


def assert_newest_turns_were_called(world: World, wishes: Wishes) -> None:
    """A notice that was left out because its branch flaps has a later one, which was sent; each is sent once."""
    sent = 0
    for project in PROJECTS:
        line = sorted((one for one in builds(world) if one.key.project == project), key=_began_at)
        notices = [(one, slot) for one in line for slot in slots_of(world, one).values() if _is_notice(slot)]
        for _, slot in notices:
            assert slot.reason in ("sent", "folded:digest", "filtered:flapping", "filtered:card_notifies"), slot
            sent += slot.reason == "sent"
        telling = [slot for one, slot in notices if one.is_fixed or one.build().status is FAILED]
        if wishes.can_edit and telling and telling[-1].reason != "folded:digest":
            assert telling[-1].reason == "sent"
    assert sent == len([call for call in world.messenger.calls if isinstance(call.content, Notice)])


def _began_at(record: SubjectRecord) -> float:
    return record.folded.ordered_at


def _is_notice(card: CardRecord) -> bool:
    return kind_of_slot(card.slot) == NOTICE_SLOT
