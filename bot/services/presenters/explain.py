"""Why something is shown where it is: what came, what the routes made of it, and what became of it at each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.domain.cards import Card, Code, Lines, Moment, Paragraph, Section, Strong, Text, Tone, text
from bot.domain.deployments import Deployment
from bot.domain.places import CARD_SLOT
from bot.domain.routing import Shown
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.i18n import translate
from bot.ports import AttemptRecord, DeliveryRecord
from bot.services.presenters.dead_letters import slot_words
from bot.services.presenters.deployment import story_of
from bot.services.presenters.reasons import outcome_words, reason_words
from bot.services.presenters.words import duration

MOST_NAMES = 10  # of places where all is well, on a line
MOST_LETTERS = 100  # of names: a line that no platform has to cut
LINES = 8  # of a section: the same
LATE_S = 5.0  # an event that was heard so much after it happened says so
EVENT_WORDS = {
    "build_started": "began",
    "build_progressed": "went on",
    "build_finished": "ended",
    "build_enriched": "details were read",
    "build_retried": "was retried",
}
DIMENSION_WORDS = {
    "kind": "kind",
    "project": "project",
    "branch": "branch",
    "status": "status",
    "environment": "environment",
    "severity": "severity",
    "author": "author",
}
OPERATION_WORDS = {"post": "posted", "upload": "posted", "update": "changed"}


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """What one route says of a build, and the places it leads to.

    Where a dimension does not match, `wanted` are the route's globs and `found` is the build's value.
    """

    name: str
    reason: str
    places: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    found: str = ""


@dataclass(frozen=True, slots=True)
class SlotStory:
    """What became of one slot: the delivery, and its newest attempts, oldest first."""

    delivery: DeliveryRecord
    attempts: tuple[AttemptRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that led to where a subject is shown.

    `slots` are told one by one. `missing` is all that waits or was given up, where that is more than is told so;
    `others` are neither, and not told so. `hidden_routes` counts what was left out.
    """

    subject: Shown
    events: Sequence[tuple[str, float, float]]
    routes: Sequence[RouteAnswer] = ()
    slots: Sequence[SlotStory] = ()
    hidden_routes: int = 0
    missing: Sequence[DeliveryRecord] = ()
    others: Sequence[DeliveryRecord] = ()
    only_place: str = field(default="")


def explain_card(story: Explanation, now: float, locale: str, timezone: str) -> Card:
    """The whole way, in words, what is missing first; times in the place's zone."""
    missing: list[Section] = []
    standing: list[Section] = []
    for place, slots in _by_place(story.slots).items():
        lines = [line for slot in slots for line in _slot(slot, now, locale)]
        found = missing if any(slot.delivery.is_missing for slot in slots) else standing
        found.append(Lines(tuple(lines), title=place))
    # What is short comes first, so that all of it is there even where the rest has no room on a platform.
    sections = [*_summed(story.missing, now, locale), *missing, *_events(story, locale), *_routes(story, locale)]
    sections += [*standing, *_summed(story.others, now, locale, most=MOST_NAMES)]
    is_build = not isinstance(story.subject, Deployment)
    sentence = "Why {build} is shown where it is" if is_build else "Why the deployment {build} is shown where it is"
    title = translate(locale, sentence, build=story.subject.key.short)
    footer: Text = ()
    if story.missing:
        footer = text(translate(locale, "More of one of them:"), " ", Code(f"explain #{story.missing[-1].card.id}"))
    return Card(
        Tone.NEUTRAL,
        title,
        emoji="🔎",
        sections=tuple(sections),
        footer=footer,
        locale=locale,
        timezone=timezone,
    )


def _by_place(slots: Sequence[SlotStory]) -> dict[str, list[SlotStory]]:
    places: dict[str, list[SlotStory]] = {}
    for slot in slots:
        places.setdefault(slot.delivery.label, []).append(slot)
    return places


def _events(story: Explanation, locale: str) -> list[Section]:
    if isinstance(story.subject, Deployment):
        return [Lines(story_of(story.subject, locale), title=translate(locale, "Events"))]
    events = tuple(_event(event, locale) for event in story.events)
    return [Lines(events, title=translate(locale, "Events"))] if events else []


def _routes(story: Explanation, locale: str) -> list[Section]:
    if story.routes:
        routes = tuple(_route(route, locale) for route in story.routes)
        return [Lines(routes, translate(locale, "Routes"), story.hidden_routes)]
    return [] if story.only_place else [Paragraph(text(translate(locale, "No route speaks of it.")))]


def _event(event: tuple[str, float, float], locale: str) -> Text:
    kind, occurred_at, received_at = event
    parts: list[Any] = [_moment(occurred_at), " · ", translate(locale, EVENT_WORDS.get(kind, kind))]
    if received_at - occurred_at > LATE_S:
        delay = duration(received_at - occurred_at, locale)
        parts += [" · ", translate(locale, "heard of {delay} later", delay=delay)]
    return text(*parts)


def _route(route: RouteAnswer, locale: str) -> Text:
    parts: list[Any] = [Strong(route.name), " · "]
    family, _, dimension = route.reason.partition(":")
    if family == "filtered" and dimension in DIMENSION_WORDS:
        parts += [
            translate(locale, "does not match"),
            " · ",
            translate(locale, DIMENSION_WORDS[dimension]),
            " ",
            Code(route.found or "—"),
            " ≠ ",
            Code(", ".join(route.wanted) or "—"),
        ]
        return text(*parts)
    words = translate(locale, "matches") if route.reason == "routed" else reason_words(route.reason, locale)
    return text(*parts, words, " → ", ", ".join(route.places))


def _slot(slot: SlotStory, now: float, locale: str) -> list[Text]:
    delivery = slot.delivery
    card, reason = delivery.card, delivery.reason
    name = translate(locale, "the digest, #{number}", number=card.id) if _is_digest(delivery) else None
    parts: list[Any] = [Strong(name or slot_words(card.slot, locale)), " · ", reason_words(reason, locale)]
    if reason:
        parts += [" · ", Code(reason)]
    if place_reason := _place_reason(delivery, now):
        parts += [" · ", reason_words(place_reason, locale), " · ", Code(place_reason)]
    next_try_at = delivery.next_try_at
    if next_try_at is not None and next_try_at > now:
        parts += [" · ", translate(locale, "next try"), " ", _moment(next_try_at)]
    if card.is_dead:
        parts += [" · ", Code(f"shipmate dead show {card.id}")]
    return [text(*parts), *(_attempt(attempt, locale) for attempt in slot.attempts)]


def _summed(
    deliveries: Sequence[DeliveryRecord], now: float, locale: str, *, most: int | None = None
) -> Iterator[Section]:
    """What shares its reasons together, with all its places, or `most` of them."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in deliveries:
        alike.setdefault((one.reason, _place_reason(one, now)), []).append(_name(one, locale))
    for reasons, names in alike.items():
        said = [word for reason in reasons if reason for word in (reason, reason_words(reason, locale))]
        title = " · ".join(said or [reason_words("", locale)])
        left = len(names[most:]) if most else 0
        more = [translate(locale, "… and {count} more", count=left)] if left else []
        lines = [text(", ".join(part)) for part in _parted([*names[:most], *more])]
        for at in range(0, len(lines), LINES):
            yield Lines(tuple(lines[at : at + LINES]), title)


def _parted(names: Sequence[str]) -> Iterator[list[str]]:
    """Names in groups that fit on a line of any platform's answer."""
    part: list[str] = []
    for name in names:
        if part and sum(map(len, part)) + len(name) > MOST_LETTERS:
            yield part
            part = []
        part.append(name)
    yield part


def _name(delivery: DeliveryRecord, locale: str) -> str:
    """A slot on a line with others: its place, what it shows, and its number where it is worth a question."""
    card = delivery.card
    if _is_digest(delivery):
        return f"{delivery.label} {translate(locale, 'the digest, #{number}', number=card.id)}"
    if delivery.is_missing:
        return f"{delivery.label} {slot_words(card.slot, locale)} #{card.id}"
    return delivery.label if card.slot == CARD_SLOT else f"{delivery.label} {slot_words(card.slot, locale)}"


def _is_digest(delivery: DeliveryRecord) -> bool:
    return SubjectKey.parse(delivery.card.subject).kind is SubjectKind.DIGEST


def _place_reason(delivery: DeliveryRecord, now: float) -> str:
    """Why the whole place waits, where that is what holds the slot back."""
    next_try_at = delivery.next_try_at
    is_held = next_try_at is not None and now < next_try_at == delivery.place_free_at
    return delivery.place_reason if is_held else ""


def _attempt(attempt: AttemptRecord, locale: str) -> Text:
    operation = translate(locale, OPERATION_WORDS.get(attempt.operation, attempt.operation))
    parts: list[Any] = [
        "↳ ",
        _moment(attempt.started_at),
        f" · {operation} ({translate(locale, 'state {revision}', revision=attempt.revision)}) → ",
        outcome_words(attempt.outcome, locale),
    ]
    if attempt.outcome not in ("sent", "unchanged"):
        parts += [" · ", Code(attempt.outcome)]
    if attempt.detail:
        parts.append(f" ({attempt.detail})")
    if attempt.finished_at is not None:
        parts += [" · ", duration(max(0.0, attempt.finished_at - attempt.started_at), locale)]
    return text(*parts)


def _moment(at: float) -> Moment:
    return Moment(datetime.fromtimestamp(at, UTC))
