"""From a folded subject to the slots it should stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.domain.deployment_notices import notices_of
from bot.domain.deployments import Deployment
from bot.domain.noise import QuietHours, join_noise
from bot.domain.places import CARD_SLOT, LOG_SLOT, NOTICE_SLOT, DestinationSettings, attempts_slot
from bot.domain.routing import Judgement, Match, Milestone, Route, Shown, Updates, judge, milestones_of, traits_of
from bot.ports import Slot, Subscription, Transaction


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a subject's card stands by one judgement."""

    destination: str
    judgement: Judgement
    locale: str
    timezone: str
    is_muted: bool = False
    quiet_hours: QuietHours | None = None
    progress_interval_s: float | None = None

    @property
    def opens(self) -> bool:
        """Whether a card is opened there."""
        return self.judgement.opens and not self.is_muted

    @property
    def is_waiting(self) -> bool:
        """Whether a card is opened there when the subject reaches a later milestone."""
        return self.judgement.reason.startswith("waiting:") and not self.is_muted

    @property
    def reason(self) -> str:
        """The named reason."""
        return "filtered:muted" if self.judgement.opens and self.is_muted else self.judgement.reason


class Router:
    """The routes of the configuration, joined with what channels asked for in chat."""

    def __init__(
        self, routes: Sequence[Route], destinations: Mapping[str, DestinationSettings], admin: str = ""
    ) -> None:
        self._routes = tuple(routes)
        self._destinations = dict(destinations)
        self._admin = admin

    def openings(self, tx: Transaction, shown: Shown) -> list[Opening]:
        """Every place that some route or subscription speaks of, with the answer and its reason.

        What is loud opens wherever a route matches, whatever its `when`, a mute or quiet hours that spare what is
        critical say; at the admin's place where none does.
        """
        subscriptions = tx.subscriptions.for_project(shown.key.project)
        is_loud = isinstance(shown, Deployment) and shown.is_loud
        muted = set() if is_loud else _muted(subscriptions, shown.key.project)
        traits, reached = traits_of(shown), frozenset(Milestone) if is_loud else milestones_of(shown)
        routes = [replace(route, critical=True) for route in self._routes] if is_loud else self._routes
        found = []
        for judgement in judge(routes, traits, reached):
            for name in judgement.route.to:
                settings = self._destinations[name]
                key = _key_of(tx, settings.address)
                found.append(_opening(key, judgement, settings, is_muted=key in muted))
        for wish in subscriptions:
            if not wish.is_mute:
                judgement, place = (
                    judge([replace(_route_of(wish), critical=is_loud)], traits, reached)[0],
                    wish.destination,
                )
                said = self.settings_of(tx, place) or DestinationSettings("", "", wish.locale)
                found.append(_opening(place, judgement, said, is_muted=place in muted))
        if is_loud and self._admin and not any(opening.opens for opening in found):
            settings, last = self._destinations[self._admin], Route("admin", Match(), (self._admin,), critical=True)
            found.append(
                _opening(_key_of(tx, settings.address), Judgement(last, True, "routed"), settings, is_muted=False)
            )
        return found

    def settings_of(self, tx: Transaction, destination: str) -> DestinationSettings | None:
        """The configured settings of a destination key, if the configuration names the place."""
        for settings in self._destinations.values():
            if _key_of(tx, settings.address) == destination:
                return settings
        return None


def slots_of(openings: Sequence[Opening], shown: Shown) -> list[Slot]:
    """The slots that the openings ask for; several routes to one place add up to one card."""
    wishes: dict[str, dict[str, Any]] = {}
    for opening in openings:
        if opening.opens:
            asked = _options(opening)
            standing = wishes.get(opening.destination)
            wishes[opening.destination] = asked if standing is None else join_options(standing, asked)
    slots = []
    for destination, wish in wishes.items():
        slots.append(Slot(destination, CARD_SLOT, wish))
        slots += [Slot(destination, name, wish) for name in _thread_slots(shown, wants_log=wish["log"])]
    return slots


def join_options(standing: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a card that stands, and what another route asks for beyond them; its language and zone stay."""
    called = standing.get("mention", ())  # another version may have written less
    mention = [*called, *(name for name in asked["mention"] if name not in called)]
    is_all = Updates.ALL.value in (standing.get("updates"), asked["updates"])
    updates = Updates.ALL.value if is_all else asked["updates"]
    kept = {name: standing.get(name, asked[name]) for name in ("locale", "timezone")}
    joined = {**kept, "mention": mention, "updates": updates, "log": bool(standing.get("log") or asked["log"])}
    return joined | join_noise(standing, asked)


def thread_slots(destination: str, options: Mapping[str, Any], shown: Shown) -> list[Slot]:
    """What the state of a subject adds below a card that stands already."""
    return [Slot(destination, name, options) for name in _thread_slots(shown, wants_log=bool(options.get("log")))]


def _thread_slots(shown: Shown, *, wants_log: bool) -> list[str]:
    if isinstance(shown, Deployment):
        return [f"{NOTICE_SLOT}@{name}" for name in notices_of(shown)]
    build, reached = shown, milestones_of(shown)
    names = []
    if reached & {Milestone.FAILED, Milestone.FIXED}:
        names.append(attempts_slot(NOTICE_SLOT, build.attempt))
    if wants_log and Milestone.FAILED in reached and build.facts.log_excerpt:
        names.append(attempts_slot(LOG_SLOT, build.attempt))
    return names


def _opening(place: str, judgement: Judgement, settings: DestinationSettings, *, is_muted: bool) -> Opening:
    route = judgement.route
    interval_s = settings.progress_interval_s if route.progress_interval_s is None else route.progress_interval_s
    quiet_hours = route.quiet_hours or settings.quiet_hours
    return Opening(place, judgement, settings.locale, settings.timezone, is_muted, quiet_hours, interval_s)


def _options(opening: Opening) -> dict[str, Any]:
    """What a route asks of a card; what holds it back stands there only where it is asked for."""
    route = opening.judgement.route
    platform = opening.destination.partition(":")[0]  # an account of another one is nobody there
    options: dict[str, Any] = {
        "locale": opening.locale,
        "timezone": opening.timezone,
        "mention": [name for name in route.mention if name.partition(":")[0] == platform],
        "updates": route.updates.value,
        "log": route.thread_log,
    }
    for name, threshold in (("group", route.group), ("flapping", route.flapping)):
        if threshold is not None:
            options[name] = [threshold.more_than, threshold.per_s]
    quiet = opening.quiet_hours
    if quiet is not None and not (route.critical and quiet.spares_critical):
        options["quiet"] = [str(quiet)]
    if opening.progress_interval_s is not None:
        options["progress_interval_s"] = opening.progress_interval_s
    return options


def _key_of(tx: Transaction, address: str) -> str:
    """The place's key; while it is not resolved, the address stands for it."""
    return tx.places.key_of(address) or address


def _muted(wishes: Sequence[Subscription], project: str) -> set[str]:
    """Where a project's cards are not wanted: what was said of the project itself outweighs what was said of all."""
    deciding: dict[str, Subscription] = {}
    for wish in sorted(wishes, key=lambda wish: wish.project == project):
        deciding[wish.destination] = wish
    return {place for place, wish in deciding.items() if wish.is_mute}


def _route_of(wish: Subscription) -> Route:
    return Route(
        name=f"subscription:{wish.project}",
        match=Match(project=() if wish.project == "*" else (wish.project,)),
        to=(),
        when=frozenset(Milestone(name) for name in wish.milestones),
    )
