"""What is done by the clock: the trail is sealed, and final states that cannot be shown in time are said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from bot.domain.audit import AuditEntry, seal
from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Content, Notice
from bot.domain.places import Place, Rendered
from bot.errors import OutcomeUnknown, Unavailable
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.tables import audit, cards
from tests.services.world import CI, World
from tests.stores import NOW, event_of

SUCCESS, FAILED = BuildStatus.SUCCESS, BuildStatus.FAILED


@pytest.fixture
def upkeep(world: World) -> Upkeep:
    """The clock's work over a world."""
    return Upkeep(world.store, world.clock, Signal())


def _chain_is_whole(world: World) -> bool:
    previous = ""
    with world.database.connect() as connection:
        for row in connection.execute(select(audit).order_by(audit.c.seq)):
            entry = AuditEntry(row.at, row.actor, row.verb, row.target, row.outcome, row.detail, row.command_id)
            if (row.previous_hash, row.hash) != (previous, seal(entry, row.seq, previous)):
                return False
            previous = row.hash
    return True


def test_the_trail_is_one_chain(world: World, upkeep: Upkeep) -> None:
    """Entries sealed at different times form one chain; an entry changed later breaks it."""
    for number in range(3):
        entry = AuditEntry(NOW, "slack:U1", "retry", f"user-service#{number}", "started")
        world.store.write(lambda tx, entry=entry: tx.audit.append(entry))
        assert upkeep.seal_audit() == 1
    assert upkeep.seal_audit() == 0
    assert _chain_is_whole(world)
    with world.database.begin() as connection:
        connection.execute(update(audit).where(audit.c.seq == 2).values(actor="slack:U9"))
    assert not _chain_is_whole(world)


def test_a_final_state_that_cannot_be_shown_is_said_in_the_thread(world: World, upkeep: Upkeep) -> None:
    """After thirty seconds of failed changes one remark below the card tells the end, and the card follows later."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 6)
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver(20)
    assert upkeep.tell_overdue() == 0
    world.deliver(15)
    assert upkeep.tell_overdue() == 1
    world.deliver(100)
    remarks = [call for call in world.messenger.calls if isinstance(call.content, Notice)]
    assert [call.parent for call in remarks] == [world.card().message_ref]
    assert "succeeded" in remarks[0].title
    assert world.messenger.standing(CI)[0] == "user-service #12 · succeeded"
    assert upkeep.tell_overdue() == 0


def test_an_overdue_state_is_said_once(world: World, upkeep: Upkeep) -> None:
    """However long the card stays behind, there is one remark."""
    world.accept(event_of())
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    for _ in range(4):
        world.clock.advance(40)
        upkeep.tell_overdue()
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 5)
    world.deliver(120)
    assert len([call for call in world.messenger.calls if isinstance(call.content, Notice)]) == 1


def test_a_card_that_was_never_posted_has_no_thread(world: World, upkeep: Upkeep) -> None:
    """Where no card stands there is nothing to remark upon; the card itself comes in time."""
    world.accept(event_of(status=FAILED, at=5, started=0))
    world.clock.advance(60)
    assert upkeep.tell_overdue() == 0


def test_an_end_that_stands_there_is_never_overdue(world: World, upkeep: Upkeep) -> None:
    """Its commit becomes known, and that cannot be shown: whoever looks at the card knows the end all the same."""
    world.accept(event_of(), event_of(status=FAILED, at=5, started=0))
    world.deliver(20)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 9)
    world.accept(event_of(status=FAILED, at=5, started=0, commit_title="of now"))
    world.deliver(45)
    assert world.card().wanted_revision > world.card().shown_revision
    assert upkeep.tell_overdue() == 0


def _shown(world: World) -> None:
    """All cards stand where they should, in their newest state."""
    shown = {"message_ref": "C/1", "shown_revision": cards.c.wanted_revision, "shown_final": cards.c.is_final}
    with world.database.begin() as connection:
        connection.execute(update(cards).values(shown))


def test_many_ends_that_were_said_keep_no_new_one_waiting(world: World, upkeep: Upkeep) -> None:
    """More than fit into one look were said, shown, and are to be changed once more: the newest end has its turn."""
    many = range(100, 230)
    world.accept(*(event_of(number, branch=str(number)) for number in [12, *many]))
    _shown(world)
    world.accept(*(event_of(number, FAILED, at=5, started=0, branch=str(number)) for number in many))
    world.clock.advance(40)
    assert [upkeep.tell_overdue() for _ in range(3)] == [100, 30, 0]
    _shown(world)
    world.clock.advance(1)
    title = {"commit_title": "of now"}
    world.accept(*(event_of(number, FAILED, at=5, started=0, branch=str(number), **title) for number in many))
    world.clock.advance(1)
    world.accept(event_of(status=SUCCESS, at=90, started=0, branch="12"))
    world.clock.advance(40)
    assert (upkeep.tell_overdue(), upkeep.tell_overdue()) == (1, 0)
    assert (CI, "thread:overdue") in world.slots()


def test_another_end_of_the_same_attempt_is_said_as_well(world: World, upkeep: Upkeep) -> None:
    """The remark told of an end that turned out to be none: the one that counts has its own."""
    _overdue(world, upkeep)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 5)
    world.deliver(120)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 9)
    world.accept(event_of(status=FAILED, at=200, started=60))
    world.deliver(45)
    assert (upkeep.tell_overdue(), upkeep.tell_overdue()) == (1, 0)
    assert {slot for _, slot in world.slots()} >= {"thread:overdue", "thread:overdue@2"}


def _overdue(world: World, upkeep: Upkeep, *, attempt: int = 1) -> None:
    """A final state that has waited for too long, and its remark."""
    at = 60.0 * attempt
    world.accept(event_of(at=at, attempt=attempt))
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=at + 5, started=at, attempt=attempt))
    world.clock.advance(40)
    assert upkeep.tell_overdue() == 1


def _remarks(world: World) -> list[str]:
    return [call.title for call in world.messenger.calls if isinstance(call.content, Notice)]


def test_a_card_that_comes_in_time_after_all_is_not_remarked_upon(world: World, upkeep: Upkeep) -> None:
    """Where the card shows the end before its remark is sent, the remark would only confuse."""
    _overdue(world, upkeep)
    world.deliver(30)
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]
    assert _remarks(world) == []
    assert world.card(slot="thread:overdue").reason == "filtered:card_tells"


def test_a_place_without_threads_gets_no_remark(world: World, upkeep: Upkeep) -> None:
    """A remark that stands apart from its card says nothing that the card does not."""
    world.messenger.can_thread = False
    world.messenger.fail(CI, Unavailable("slack", "unreachable"))
    _overdue(world, upkeep)
    world.deliver(60)
    assert _remarks(world) == []
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]


def test_each_attempt_that_is_late_is_remarked_upon(world: World, upkeep: Upkeep) -> None:
    """A re-run under the same number whose end is late as well has a remark of its own."""
    for attempt in (1, 2):
        _overdue(world, upkeep, attempt=attempt)
        world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 5)
        world.deliver(120)
    assert len(_remarks(world)) == 2
    assert {slot for _, slot in world.slots()} == {"card", "thread:overdue", "thread:overdue@2"}


def test_all_that_are_late_are_remarked_upon(world: World, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are: those that were said already do not stand before the others."""
    monkeypatch.setattr("bot.services.upkeep.OVERDUE_BATCH", 2)
    for number in range(1, 6):
        world.accept(event_of(number))
    world.deliver(30)
    for number in range(1, 6):
        world.accept(event_of(number, SUCCESS, at=30, started=0))
    world.clock.advance(60)
    assert [upkeep.tell_overdue() for _ in range(4)] == [2, 2, 1, 0]


def _adds_in_vain(world: World, attempt: int = 1) -> None:
    """Something is learned about an end that stands, and the platform takes no change for a while."""
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 12)
    world.accept(event_of(status=FAILED, at=90, started=0, attempt=attempt, log="AssertionError"))
    world.deliver(40)


def test_an_end_that_was_found_is_not_late(world: World, upkeep: Upkeep) -> None:
    """The post whose answer was lost shows it: only an addition waits."""
    world.messenger.fail(CI, OutcomeUnknown("slack", "no_answer"), is_done=True)
    world.accept(event_of(status=FAILED, at=5, started=0))
    world.deliver(60)
    assert world.card().reason == "found"
    _adds_in_vain(world)
    assert upkeep.tell_overdue() == 0


def test_an_end_that_looks_the_same_is_not_late(world: World, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another attempt ended like the one before it in no time: what stands is its end, too."""
    render = world.messenger.render

    def by_title(content: Content, place: Place) -> Rendered:
        return replace(render(content, place), digest=content.title if isinstance(content, Card) else "")

    monkeypatch.setattr(type(world.messenger), "render", lambda _self, content, place: by_title(content, place))
    world.accept(event_of(status=FAILED, at=5, started=0))
    world.deliver(5)
    world.accept(event_of(at=10, attempt=2), event_of(status=FAILED, at=15, started=10, attempt=2))
    world.deliver(60)
    assert ("update" in world.operations(), world.card().reason) == (False, "unchanged")
    monkeypatch.undo()
    _adds_in_vain(world, attempt=2)
    assert upkeep.tell_overdue() == 0
