"""What would happen, without a network, a database or a secret: routes judged on an event, and cards drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import cast

from bot.domain.builds import Build
from bot.domain.cards import Card
from bot.domain.folding import fold
from bot.domain.places import CARD_SLOT, LOG_SLOT, NOTICE_SLOT
from bot.domain.routing import DIMENSIONS, Route, milestones_of, traits_of
from bot.errors import CommandInvalid
from bot.i18n import LOCALES
from bot.ports import Slot, Transaction
from bot.services.presenters.build import build_card
from bot.services.presenters.deployment import deployment_card
from bot.services.presenters.digest import digest_card
from bot.services.presenters.examples import EXAMPLE_DEPLOYMENT, EXAMPLE_DIGEST, EXAMPLE_ZONES, EXAMPLES
from bot.services.presenters.words import window
from bot.services.router import Opening, Router, slots_of
from bot.settings import Settings, routes_of
from bot.system import SystemClock
from integrations.generic import parse
from integrations.outside import Outside, connect_outside
from integrations.registry import PLATFORMS
from integrations.spec import Preview

DIGEST, DEPLOYMENT = "digest", "deployment"
_SLOT_WORDS = {CARD_SLOT: "card", NOTICE_SLOT: "notice", LOG_SLOT: "log"}


def explain(settings: Settings, body: bytes, *, source: str = "", is_fixed: bool = False) -> Iterator[str]:
    """Which route sends what of a generic event where, in lines; PayloadInvalid names the field that is wrong.

    `is_fixed` judges a success as the first after a failure.
    """
    outside = connect_outside(settings, SystemClock())
    name = source or _first_generic(settings)
    build = _build_of(name, body, is_fixed=is_fixed)
    openings = Router(routes_of(settings), outside.destinations).openings(_empty_database(), build)
    yield from _headline(build)
    for route in routes_of(settings):
        yield from _route_lines(route, [one for one in openings if one.judgement.route == route])
    yield from _summary(slots_of(openings, build), outside, build)


def preview_all(platform: str = "", locale: str = "", case: str = "") -> Iterator[tuple[str, Preview]]:
    """Example cards with a title each: of one platform, language and case, or of all; CommandInvalid otherwise."""
    for kind in _chosen("platform", platform, tuple(PLATFORMS)):
        for language in _chosen("locale", locale, LOCALES):
            for name in _chosen("case", case, (*EXAMPLES, DIGEST, DEPLOYMENT)):
                card = _example(name, language)
                for shown in PLATFORMS[kind].preview(card):
                    yield f"{kind} {shown.shape} · {language} · {name}", shown


def _example(name: str, locale: str) -> Card:
    if name == DIGEST:
        return digest_card(EXAMPLE_DIGEST, locale, EXAMPLE_ZONES[locale])
    if name == DEPLOYMENT:
        return deployment_card(EXAMPLE_DEPLOYMENT, locale, EXAMPLE_ZONES[locale])
    return build_card(EXAMPLES[name], locale, EXAMPLE_ZONES[locale])


def _chosen(option: str, given: str, known: Sequence[str]) -> Sequence[str]:
    if given and given not in known:
        raise CommandInvalid(f"--{option} {given!r} is none of {', '.join(known)}")
    return (given,) if given else known


def _first_generic(settings: Settings) -> str:
    return next((name for name, source in settings.sources.items() if source.kind == "generic"), "generic")


def _build_of(source: str, body: bytes, *, is_fixed: bool) -> Build:
    received = parse(source, "rehearsal", body, int(SystemClock().now().timestamp()))
    if not received.events:
        raise CommandInvalid(f"event: {received.reason}, nothing would happen")
    event = received.events[0]
    return fold(None, event).build(event.subject, is_fixed=is_fixed)


def _empty_database() -> Transaction:
    """What the router asks of a database, when nothing is stored: no wish of a channel, no place resolved."""
    nothing = SimpleNamespace(
        subscriptions=SimpleNamespace(for_project=lambda _project: ()),
        places=SimpleNamespace(key_of=lambda _address: None),
    )
    return cast("Transaction", nothing)


def _headline(build: Build) -> Iterator[str]:
    traits = traits_of(build)
    known = [f"{name} {value}" for name in DIMENSIONS if (value := getattr(traits, name))]
    yield f"{build.key}: {', '.join(known)}"
    yield f"reached: {', '.join(sorted(milestones_of(build)))}"
    yield ""


def _route_lines(route: Route, openings: Sequence[Opening]) -> Iterator[str]:
    reason = openings[0].reason
    yield f"{route.name}: {'matches' if not reason.startswith('filtered:') else 'does not match'}, {reason}"
    if reason.startswith("filtered:"):
        dimension = reason.partition(":")[2]
        yield f"  {dimension} would have to match {', '.join(getattr(route.match, dimension))}"
        return
    if not openings[0].opens:
        yield f"  opens a card once it has {' or '.join(sorted(route.when))}"
    for name, opening in zip(route.to, openings, strict=True):
        extras = [f"locale {opening.locale}", f"time zone {opening.timezone}"]
        extras += [f"mentions {', '.join(route.mention)}"] if route.mention else []
        extras += ["log in the thread"] if route.thread_log else []
        extras += ["every update"] if route.updates == "all" else []
        extras += _hushed(opening)
        yield f"  {'→' if opening.opens else '·'} {name} ({', '.join(extras)})"


def _hushed(opening: Opening) -> Iterator[str]:
    """What holds a card back, or folds it, at its place."""
    route, quiet = opening.judgement.route, opening.quiet_hours
    if route.group is not None:
        yield f"a digest for more than {route.group.more_than} cards in {window(route.group.per_s, 'en')}"
    if quiet is not None:
        is_spared = route.critical and quiet.spares_critical
        yield f"quiet {quiet}{', but critical: never held' if is_spared else ''}"
    if route.flapping is not None:
        times = f"{route.flapping.more_than} changes in {window(route.flapping.per_s, 'en')}"
        yield f"few notices for more than {times}"
    if opening.progress_interval_s is not None:
        yield f"progress every {opening.progress_interval_s:g} s"


def _summary(slots: Sequence[Slot], outside: Outside, build: Build) -> Iterator[str]:
    """One line: what goes where. Two routes to one place, and two names of it, add up to one card."""
    words: dict[str, list[str]] = {}
    for slot in slots:
        words.setdefault(slot.destination, []).append(_SLOT_WORDS.get(slot.slot, slot.slot))
    names: dict[str, list[str]] = {}
    for name, destination in outside.destinations.items():
        names.setdefault(destination.address, []).append(name)
    yield ""
    sent = [f"{'/'.join(names[address])}: {', '.join(what)}" for address, what in words.items()]
    yield f"sent: {'; '.join(sent)}" if sent else f"sent: nothing for {build.key.short}"
