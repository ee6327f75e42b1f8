"""Cards out: one card a subject and place, in place, at the platform's pace, through every failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from sqlalchemy import Engine, update

from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Content, Notice
from bot.domain.places import Operation, Place
from bot.domain.routing import Match, Milestone, Route, Updates
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from bot.ports import Slot
from bot.storage.tables import cards
from tests.services.world import CI, DEV, World
from tests.stores import event_of

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
BOTH = (Route("routes[0]", Match(), ("ci", "dev")),)


def test_a_build_is_one_card_changed_in_place(world: World) -> None:
    """The opening is posted, the end is an update of the same post."""
    world.accept(event_of())
    world.deliver()
    world.clock.advance(30)
    world.accept(event_of(status=SUCCESS, at=30, started=0))
    world.deliver(1)
    assert world.operations() == ["post", "update"]
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_many_updates_are_few_calls_and_end_on_the_newest(world: World) -> None:
    """Twenty quick revisions cost as many calls as the pace allows; the last state is the one that stands."""
    world.accept(event_of())
    for second in range(20):
        world.accept(event_of(at=second * 0.1, started=0, commit_title=f"step {second}"))
        world.clock.advance(0.1)
        world.deliver()
    world.accept(event_of(status=FAILED, at=2.5, started=0))
    world.deliver(10)
    assert len([op for op in world.operations() if op == "update"]) <= 4
    assert world.messenger.standing(CI)[0] == "user-service #12 · failed"


def test_a_final_state_does_not_wait_for_the_pace_of_progress(world: World) -> None:
    """The end goes as soon as the place is free, though the next progress would wait longer."""
    world.accept(event_of())
    world.deliver(1.1)
    world.accept(event_of(status=SUCCESS, at=1, started=0))
    world.deliver(0.1)
    assert world.messenger.titles(CI)[-1] == "user-service #12 · succeeded"


def test_what_looks_the_same_is_not_sent(world: World) -> None:
    """A revision that changes nothing a reader sees costs no call."""
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver()
    world.accept(event_of(status=SUCCESS, at=5, started=0, log="not shown for a success"))
    world.deliver(10)
    assert world.operations() == ["post"]
    assert world.card().reason == "unchanged"
    assert world.card().shown_revision == world.card().wanted_revision


@pytest.mark.parametrize(
    "account", [{}, {Operation.POST: (Window("slack:T/post", 600),)}], ids=["unbudgeted", "budgeted"]
)
@pytest.mark.parametrize("scope", ["place", "account"])
def test_retry_after_is_obeyed(
    scope: str, account: Mapping[Operation, Sequence[Window]], make_world: Callable[..., World]
) -> None:
    """Nothing goes to a limited place before its pause is over, not even a final state; then it does."""
    world = make_world()
    world.messenger.account = account
    world.messenger.fail(CI, RateLimited("slack", "ratelimited", 20.0, scope=scope))
    tried: list[float] = []
    world.messenger.before_send = lambda: tried.append(world.clock.now().timestamp())
    world.accept(event_of(1, SUCCESS))
    world.deliver()
    world.accept(event_of(1, FAILED, at=1, started=0))
    world.deliver(19)
    assert len(tried) == 1
    world.deliver(10)
    assert world.messenger.titles(CI)[0] == "user-service #1 · failed"
    assert tried[1] - tried[0] >= 20.0


@pytest.mark.parametrize(
    ("scope", "elsewhere"), [("place", ["user-service #12 · running"]), ("account", [])], ids=["place", "account"]
)
def test_a_limit_pauses_just_its_scope(scope: str, elsewhere: list[str], make_world: Callable[..., World]) -> None:
    """A limited place leaves the others alone, a limited account holds all of its places back."""
    world = make_world(routes=BOTH)
    world.messenger.account = {Operation.POST: (Window("slack:T/post", 100),)}
    limit = RateLimited("slack", "ratelimited", 20.0, scope=scope)
    first = {CI: DEV, DEV: CI}
    world.accept(event_of())
    work = world.deliverer.claim(1)[0]  # one at a time, so that the limit is known before the other one's turn
    limited = work.lease.key
    world.messenger.fail(limited, limit)
    world.deliverer.carry_out(work)
    world.deliver(10)
    assert world.messenger.titles(limited) == []
    assert world.messenger.titles(first[limited]) == elsewhere
    world.deliver(15)
    assert world.messenger.titles(limited) == world.messenger.titles(first[limited]) == ["user-service #12 · running"]


@pytest.mark.parametrize(
    "problem", [Unavailable("slack", "http_5xx"), RateLimited("slack", "ratelimited", 1.0, scope="account")]
)
def test_an_end_that_is_refused_lets_its_notice_go(problem: Exception, world: World) -> None:
    """As long as the card cannot be changed, people are called all the same."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, problem)
    world.accept(event_of(status=FAILED, at=5, started=0))
    world.deliver(10)
    assert world.operations() == ["post", "post", "update"]


@pytest.mark.parametrize(
    "error", [DestinationGone("slack", "channel_not_found"), Rejected("slack", "restricted_action")], ids=["gone", "no"]
)
def test_a_dead_destination_is_given_up_and_delays_no_other(error: Exception, make_world: Callable[..., World]) -> None:
    """The reason stands on the dead card, the other place gets its card at once, nothing is tried again."""
    world = make_world(routes=BOTH)
    world.messenger.fail(CI, error, error)
    world.accept(event_of(status=FAILED))
    world.deliver(120)
    assert world.card().is_dead
    assert world.card().reason.startswith("dead:")
    assert world.card(slot="notice").is_dead
    assert world.messenger.titles(CI) == []
    assert world.messenger.titles(DEV)[0] == "user-service #12 · failed"
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


@pytest.mark.parametrize("error", [Rejected("slack", "msg_too_long"), DestinationGone("slack", "not_in_channel")])
def test_a_change_that_was_refused_does_not_cost_the_end(error: Exception, world: World) -> None:
    """A card given up while its build ran still shows how it ended; what comes between is not tried."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, error)
    world.accept(event_of(at=5, started=0, commit_title="long"))
    world.deliver(5)
    assert world.card().is_dead
    world.accept(event_of(at=6, started=0, commit_title="short"))
    world.deliver(60)
    assert world.operations() == ["post"]
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.deliver(5)
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]
    assert not world.card().is_dead


def test_an_end_that_is_refused_too_is_tried_once_a_revision(world: World) -> None:
    """A place that takes nothing any more is asked once for each final revision, and the reason stays."""
    tried = []
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, *[DestinationGone("slack", "is_archived")] * 10)
    world.messenger.before_send = lambda: tried.append(world.clock.now())
    for at in range(3):
        world.accept(event_of(status=SUCCESS, at=10 + at, started=0))
        world.deliver(600)
        assert world.card().reason == "dead:is_archived"
    assert len(tried) == 3


@pytest.mark.parametrize("error", [DestinationGone("slack", "not_in_channel"), Rejected("slack", "restricted_action")])
def test_a_card_that_a_place_never_took_stays_given_up(error: Exception, world: World) -> None:
    """Where the place is gone, or forbids posts, it takes no end either."""
    world.messenger.fail(CI, error)
    world.accept(event_of())
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.deliver(5)
    assert world.card().is_dead
    assert world.operations() == []


def test_a_card_that_fails_does_not_hold_up_its_place(world: World) -> None:
    """However long one card rests after its failures, the others there wait for a quarter of a minute at most."""

    def refuse_one(content: Content) -> None:
        if isinstance(content, Card) and "#1 " in content.title:
            raise Unavailable("slack", "fatal_error")

    world.messenger.renders = refuse_one
    world.accept(event_of(1))
    world.deliver(600)
    world.accept(event_of(2))
    begun = world.clock.now()
    world.deliver(300)
    assert [call.title for call in world.messenger.calls] == ["user-service #2 · running"]
    assert (world.messenger.calls[0].at - begun).total_seconds() <= 15
    assert world.card(1).tries > 8


def test_an_unavailable_platform_is_tried_again_with_growing_pauses(make_world: Callable[..., World]) -> None:
    """One place's trouble is its own: it is tried after 1, 2, 4 … seconds and shows the newest state at last."""
    world = make_world(routes=BOTH)
    tried: list[float] = []
    world.messenger.fail(CI, *[Unavailable("slack", "connection_refused")] * 4)
    world.messenger.before_send = lambda: tried.append(world.clock.now().timestamp())
    world.accept(event_of())
    world.deliver()
    assert world.messenger.titles(DEV) == ["user-service #12 · running"]
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver(60)
    assert world.messenger.titles(CI) == ["user-service #12 · succeeded"]
    assert world.attempt_outcomes().count("failed:connection_refused") == 4


def test_a_post_that_somebody_deleted_is_posted_anew(world: World) -> None:
    """The next revision finds the post gone and makes a new one, which is then updated."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.delete(CI, world.messenger.calls[0].ref)
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver(10)
    assert world.operations() == ["post", "post"]
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]


def test_where_edits_are_switched_off_the_end_alone_is_posted(world: World) -> None:
    """A workspace that forbids edits gets the opening and the end, not a post for each revision."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.refuses_edits = True
    for second in (5, 10):
        world.accept(event_of(at=second, started=0, commit_title=f"step {second}"))
        world.deliver(5)
    assert (world.operations(), world.card().reason) == (["post"], "filtered:cannot_edit")
    world.accept(event_of(status=FAILED, at=20, started=0))
    world.deliver(30)
    world.accept(event_of(status=FAILED, at=20, started=0, log="AssertionError"))
    world.deliver(30)
    cards = [call.title for call in world.messenger.calls if call.parent is None]
    assert cards == ["user-service #12 · running", "user-service #12 · failed"]


@pytest.mark.parametrize("is_done", [True, False], ids=["arrived", "lost"])
def test_a_post_without_an_answer_is_looked_for(is_done: bool, world: World) -> None:
    """A post whose answer was lost is found and not doubled; one that never arrived is sent again."""
    world.messenger.fail(CI, OutcomeUnknown("slack", "no_answer"), is_done=is_done)
    world.accept(event_of())
    world.deliver(30)
    world.accept(event_of(status=SUCCESS, at=20, started=0))
    world.deliver(30)
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]
    assert world.operations() == ["post", "update"]


def test_a_crash_after_the_post_is_looked_for(world: World) -> None:
    """A worker that dies between sending and recording leaves no second card behind."""
    world.accept(event_of())
    for work in world.claim():
        world.deliverer._attempt(work)  # type: ignore[arg-type] # carried out, never settled
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver(29)
    assert world.operations() == ["post"]
    world.deliver(10)
    assert world.operations() == ["post", "update"]
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]


def test_a_worker_that_was_given_up_settles_nothing(world: World) -> None:
    """A call that outlives its lease does not overwrite what the next holder recorded."""
    world.accept(event_of())
    late = world.claim()
    world.clock.advance(31)
    world.deliver(5)
    shown = world.card()
    world.clock.advance(100)
    world.messenger.posts.clear()
    for work in late:
        world.deliverer.carry_out(work)
    assert world.card() == shown


def test_where_nothing_can_be_edited_two_posts_tell_a_build(make_world: Callable[..., World]) -> None:
    """The opening and the final state are sent, progress is not; mentions go into the final card."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), mention=("slack:U7",))])
    world.messenger.can_edit = world.messenger.can_thread = world.messenger.can_find = False
    world.accept(event_of())
    world.deliver(5)
    for step in range(5):
        world.accept(event_of(at=step, started=0, commit_title=f"step {step}"))
        world.deliver(5)
    world.accept(event_of(status=FAILED, at=30, started=0))
    world.deliver(2)
    assert len(world.messenger.calls) == 1  # the log is waited for, a moment
    world.deliver(10)
    assert world.messenger.titles(CI) == ["user-service #12 · running", "user-service #12 · failed"]
    final = world.messenger.calls[-1].content
    assert isinstance(final, Card)
    assert [part.account for part in final.footer if hasattr(part, "account")] == ["slack:U7"]
    assert world.card(slot="notice").reason == "filtered:card_notifies"


def test_where_nothing_can_be_edited_every_attempts_end_is_told(make_world: Callable[..., World]) -> None:
    """A re-run under the same number ends with a post of its own."""
    world = make_world()
    world.messenger.can_edit = world.messenger.can_thread = False
    world.accept(event_of(), event_of(status=FAILED, at=5, started=0, log="boom"))
    world.deliver(10)
    world.accept(event_of(at=20, attempt=2), event_of(status=SUCCESS, at=30, started=20, attempt=2))
    world.deliver(10)
    assert world.messenger.titles(CI)[-1] == "user-service #12 · succeeded"


def test_an_end_that_is_posted_again_calls_nobody_twice(make_world: Callable[..., World]) -> None:
    """With `updates: all` what follows the end is a post too, without its mentions."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), mention=("slack:U7",), updates=Updates.ALL)])
    world.messenger.can_edit = world.messenger.can_thread = False
    for log in ("one", "two"):
        world.accept(event_of(status=FAILED, at=5, started=0, log=log))
        world.deliver(5)
    footers = [call.content.footer for call in world.messenger.calls if isinstance(call.content, Card)]
    assert [any(hasattr(part, "account") for part in footer) for footer in footers] == [True, False]


def test_all_updates_are_posted_where_the_route_asks_for_them(make_world: Callable[..., World]) -> None:
    """`updates: all` sends progress too where nothing can be edited."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), updates=Updates.ALL)])
    world.messenger.can_edit = False
    for step in range(3):
        world.accept(event_of(at=step, started=0, commit_title=f"step {step}"))
        world.deliver(5)
    assert world.operations() == ["post", "post", "post"]


def test_a_failure_notifies_once_in_the_cards_thread(make_world: Callable[..., World]) -> None:
    """The edit notifies nobody, so one remark with the mentions is put below the card, and the log after it."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), mention=("slack:U7",), thread_log=True)])
    world.accept(event_of())
    world.accept(event_of(status=FAILED, at=5, started=0))
    world.deliver(10)
    world.accept(event_of(status=FAILED, at=5, started=0, log="E   assert 500 == 401"))
    world.deliver(20)
    card, notice, log = (
        next(c for c in world.messenger.calls if _is(c.content, kind)) for kind in ("card", "❌", "📄")
    )
    notices = [call for call in world.messenger.calls if isinstance(call.content, Notice)]
    assert [call.parent for call in notices] == [card.ref, card.ref]
    assert isinstance(notice.content, Notice)
    assert [person.account for person in notice.content.mentions] == ["slack:U7"]
    assert isinstance(log.content, Notice)
    assert log.content.excerpt is not None
    assert "assert 500" in log.content.excerpt.body


def test_a_place_without_threads_has_the_log_on_its_card_alone(make_world: Callable[..., World]) -> None:
    """A second message with the same lines would only push the card out of sight."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), thread_log=True)])
    world.messenger.can_thread = False
    world.accept(event_of(status=FAILED, at=5, started=0, log="E   assert 500 == 401"))
    world.deliver(10)
    assert not [call for call in world.messenger.calls if _is(call.content, "📄")]
    assert [call for call in world.messenger.calls if _is(call.content, "❌")]


def _is(content: Content, kind: str) -> bool:
    return isinstance(content, Card) if kind == "card" else isinstance(content, Notice) and content.emoji == kind


def test_a_route_on_failure_opens_late_and_follows(make_world: Callable[..., World]) -> None:
    """A card that opened on failure shows the re-run and its success too."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), when=frozenset({Milestone.FAILED}))])
    world.accept(event_of())
    world.deliver(5)
    assert world.messenger.calls == []
    world.accept(event_of(status=FAILED, at=5, started=0))
    world.deliver(5)
    world.accept(event_of(at=10, attempt=2))
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=15, started=10, attempt=2))
    world.deliver(5)
    assert world.messenger.standing(CI)[0] == "user-service #12 · succeeded"
    assert [title for title in world.messenger.titles(CI) if "·" in title] == [
        "user-service #12 · failed",
        "user-service #12 · running",
        "user-service #12 · succeeded",
    ]


def test_an_unresolved_address_is_resolved_by_the_worker(make_world: Callable[..., World]) -> None:
    """Cards wait at the address; when the channel exists they go there, and later ones straight away."""
    world = make_world(is_resolved=False)
    world.messenger.unknown.add("slack:#ci")
    world.accept(event_of())
    world.deliver(10)
    assert world.messenger.calls == []
    world.messenger.unknown.clear()
    world.deliver(120)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]
    world.accept(event_of(13))
    world.deliver(5)
    assert world.slots(13) == {(CI, "card")}
    assert len(world.messenger.titles(CI)) == 2


def test_a_card_that_cannot_be_drawn_is_given_up_while_others_go_on(world: World) -> None:
    """One build that breaks the renderer is dead after three tries; the next build does not wait for it."""

    def break_on_one(content: Content) -> None:
        if isinstance(content, Card) and "#1 " in content.title:
            raise KeyError("a mistake of ours")

    world.messenger.renders = break_on_one
    world.accept(event_of(1), event_of(2))
    world.deliver(2)
    assert world.messenger.titles(CI) == ["user-service #2 · running"]
    world.deliver(60)
    assert world.card(1).reason == "dead:render_failed"
    assert world.operations() == ["post"]


def test_a_revoked_token_keeps_the_card_for_later(world: World) -> None:
    """While the credential is refused nothing is dead; when it is replaced the newest state appears."""
    world.messenger.fail(CI, *[AuthFailed("slack", "token_revoked")] * 3)
    world.accept(event_of())
    world.deliver(100)
    assert not world.card().is_dead
    world.accept(event_of(status=SUCCESS, at=100, started=0))
    world.deliver(400)
    assert world.messenger.titles(CI) == ["user-service #12 · succeeded"]


def test_a_platform_taken_out_of_the_configuration_stops_nothing(make_world: Callable[..., World]) -> None:
    """Cards of a platform that is no longer configured wait; the others are delivered."""
    world = make_world()
    world.store.write(lambda tx: tx.places.ensure([Place("teams:T/x", "x")]))
    world.accept(event_of())
    slot = world.card()
    world.store.write(
        lambda tx: tx.cards.open(
            slot.subject, 1, [Slot("teams:T/x", "card", {})], is_final=False, at=world.clock.now().timestamp()
        )
    )
    world.deliver(5)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]
    assert not world.card(place="teams:T/x").is_dead


def test_where_nothing_can_be_changed_another_end_is_posted_too(make_world: Callable[..., World]) -> None:
    """A source that corrects itself is believed, and a second attempt whose end is all that is heard of it."""
    world = make_world()
    world.messenger.can_edit = world.messenger.can_thread = False
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver(10)
    world.accept(event_of(status=SUCCESS, at=6, started=0, commit_title="and nothing more"))
    world.deliver(10)
    world.accept(event_of(status=FAILED, at=7, started=0, log="E boom"))
    world.deliver(10)
    world.accept(event_of(status=FAILED, at=70, started=60, attempt=2, log="E boom"))
    world.deliver(10)
    assert [title.rpartition(" · ")[2] for title in world.messenger.titles(CI)] == ["succeeded", "failed", "failed"]


def test_the_end_counts_as_shown_by_what_was_rendered(world: World, database: Engine) -> None:
    """A card's row that runs ahead of its build, as two reads of a busy database find it, makes no end of progress."""
    world.messenger.can_edit = world.messenger.can_thread = False
    world.accept(event_of())
    with database.begin() as connection:
        connection.execute(update(cards).values(is_final=True, final_since=1.0))
    world.deliver(1)
    assert not world.card().shown_final
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    world.deliver(10)
    assert world.messenger.titles(CI) == ["user-service #12 · running", "user-service #12 · succeeded"]
    assert world.card().shown_final
