"""Where a build is shown, and why not elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import Build, BuildStatus
from bot.domain.folding import fold
from bot.domain.places import DestinationSettings, Place
from bot.domain.routing import Match, Milestone, Route, Updates
from bot.ports import Subscription, Transaction
from bot.services.router import Opening, Router, join_options, slots_of, thread_slots
from tests.services.world import CI, World
from tests.stores import NOW, SqlStore, event_of

DESTINATIONS = {
    "ci": DestinationSettings("ci", "slack:#ci", "en", "Europe/Berlin"),
    "dev": DestinationSettings("dev", "dingtalk:dev", "zh-CN"),
}
MAIN = Route("routes[0]", Match(branch=("main",)), ("ci",), when=frozenset({Milestone.FAILED}))


def _openings(store: SqlStore, router: Router, **said: object) -> list[Opening]:
    build = _build(**said)
    return store.read(lambda tx: router.openings(tx, build))


def _build(**said: object) -> Build:
    event = event_of(**said)  # type: ignore[arg-type] # fields by name
    return fold(None, event).build(event.subject)


def _resolve(store: SqlStore, address: str, key: str) -> None:
    store.write(lambda tx: tx.places.adopt(address, Place(key, address)))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"status": BuildStatus.FAILED}, "opened"),
        ({"status": BuildStatus.RUNNING}, "waiting:failed"),
        ({"status": BuildStatus.FAILED, "branch": "dev"}, "filtered:branch"),
    ],
)
def test_each_place_has_its_reason(said: dict[str, object], reason: str, store: SqlStore) -> None:
    """A route that does not open says which of its conditions was not met."""
    _resolve(store, "slack:#ci", CI)
    openings = _openings(store, Router([MAIN], DESTINATIONS), **said)
    assert [(opening.destination, opening.opens) for opening in openings] == [(CI, reason == "opened")]
    assert openings[0].opens or openings[0].reason == reason


def test_an_address_stands_for_itself_until_it_is_resolved(store: SqlStore) -> None:
    """Cards wait at the address; from the moment it is resolved they go to the place."""
    router = Router([Route("routes[0]", Match(), ("ci",))], DESTINATIONS)
    assert _openings(store, router)[0].destination == "slack:#ci"
    _resolve(store, "slack:#ci", CI)
    assert _openings(store, router)[0].destination == CI


def test_an_address_that_moves_is_followed(store: SqlStore) -> None:
    """A channel made anew under its old name has another id: the next card goes there."""
    router = Router([Route("routes[0]", Match(), ("ci",))], DESTINATIONS)
    _resolve(store, "slack:#ci", CI)
    assert _openings(store, router)[0].destination == CI
    _resolve(store, "slack:#ci", "slack:T/new")
    assert _openings(store, router)[0].destination == "slack:T/new"


def test_a_resolution_that_was_rolled_back_was_never_seen(store: SqlStore) -> None:
    """What a transaction saw that did not commit does not send cards to a place that does not exist."""
    router = Router([Route("routes[0]", Match(), ("ci",))], DESTINATIONS)

    def resolve_and_fail(tx: Transaction) -> None:
        tx.places.adopt("slack:#ci", Place(CI, "#ci"))
        assert router.openings(tx, _build())[0].destination == CI
        raise KeyError("ours")

    with pytest.raises(KeyError):
        store.write(resolve_and_fail)
    assert _openings(store, router)[0].destination == "slack:#ci"


def test_two_names_of_one_place_are_one_card(make_world: Callable[..., World]) -> None:
    """Destinations are told apart by the place they are, not by their names."""
    destinations = {
        "ci": DestinationSettings("ci", "slack:#ci"),
        "again": DestinationSettings("again", "slack:ci"),
    }
    world = make_world(routes=[Route("routes[0]", Match(), ("ci", "again"))], destinations=destinations)
    world.accept(event_of())
    assert world.slots() == {(CI, "card")}


def test_settings_of_a_place(store: SqlStore) -> None:
    """A place has the language and zone of its destination; one that the file does not name has none."""
    router = Router([], DESTINATIONS)
    _resolve(store, "slack:#ci", CI)
    found = store.read(lambda tx: (router.settings_of(tx, CI), router.settings_of(tx, "slack:T/other")))
    assert found == (DESTINATIONS["ci"], None)


def test_several_routes_add_up_to_one_wish(store: SqlStore) -> None:
    """Mentions join, `updates: all` of one route counts, and slots of a failure are opened once."""
    routes = [
        Route("routes[0]", Match(), ("ci",), mention=("slack:U1",)),
        Route("routes[1]", Match(), ("ci",), mention=("slack:U1", "slack:U2"), updates=Updates.ALL, thread_log=True),
    ]
    build = _build(status=BuildStatus.FAILED, log="boom")
    openings = store.read(lambda tx: Router(routes, DESTINATIONS).openings(tx, build))
    slots = slots_of(openings, build)
    assert [slot.slot for slot in slots] == ["card", "notice", "thread:log"]
    assert {name: slots[0].options[name] for name in ("mention", "updates", "log", "timezone")} == {
        "mention": ["slack:U1", "slack:U2"],
        "updates": "all",
        "log": True,
        "timezone": "Europe/Berlin",
    }


def test_a_later_attempt_has_thread_slots_of_its_own() -> None:
    """What an attempt adds below a standing card is told apart from what the one before added."""
    build = _build(status=BuildStatus.FAILED, log="boom", attempt=3)
    assert [slot.slot for slot in thread_slots(CI, {"log": True}, build)] == ["notice@3", "thread:log@3"]


def test_a_mute_says_so(store: SqlStore) -> None:
    """What a channel muted in chat is explained as muted, not as filtered by the file."""
    _resolve(store, "slack:#ci", CI)
    wish = Subscription(CI, "user-service", True, (), "en", "slack:U1")
    store.write(lambda tx: tx.subscriptions.put(wish, NOW))
    opening = _openings(store, Router([MAIN], DESTINATIONS), status=BuildStatus.FAILED)[0]
    assert (opening.opens, opening.reason) == (False, "filtered:muted")


def test_a_card_that_another_version_opened_is_joined_all_the_same() -> None:
    """Options that lack what this version asks of a card cost nothing but what they lack."""
    asked = {"locale": "en", "timezone": "UTC", "mention": ["slack:U1"], "updates": "final", "log": True}
    assert join_options({}, asked) == asked
    joined = join_options({"locale": "zh-CN", "mention": ["slack:U2"]}, asked)
    assert (joined["locale"], joined["mention"], joined["log"]) == ("zh-CN", ["slack:U2", "slack:U1"], True)
