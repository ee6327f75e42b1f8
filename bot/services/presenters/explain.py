"""Why something is shown where it is: what came, what the routes made of it, and what became of it at each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.domain.cards import Card, Code, Lines, Moment, Paragraph, Section, Strong, Text, Tone, text
from bot.domain.deployments import Deployment
from bot.domain.routing import Shown
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.i18n import translate
from bot.ports import AttemptRecord, DeliveryRecord
from bot.services.presenters.dead_letters import slot_words
from bot.services.presenters.deployment import story_of
from bot.services.presenters.reasons import outcome_words, reason_words
from bot.services.presenters.words import duration

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
    """Everything that led to where a subject is shown; counts are of what was left out."""

    subject: Shown
    events: Sequence[tuple[str, float, float]]
    routes: Sequence[RouteAnswer] = ()
    slots: Sequence[SlotStory] = ()
    hidden_routes: int = 0
    hidden_slots: int = 0
    only_place: str = field(default="")


def explain_card(story: Explanation, now: float, locale: str, timezone: str) -> Card:
    """The whole way, in words; times in the place's zone."""
    if isinstance(story.subject, Deployment):
        sections: list[Section] = [Lines(story_of(story.subject, locale), title=translate(locale, "Events"))]
    else:
        events = tuple(_event(event, locale) for event in story.events)
        sections = [Lines(events, title=translate(locale, "Events"))] if events else []
    if story.routes:
        routes = tuple(_route(route, locale) for route in story.routes)
        sections.append(Lines(routes, translate(locale, "Routes"), story.hidden_routes))
    elif not story.only_place:
        sections.append(Paragraph(text(translate(locale, "No route speaks of it."))))
    for place, slots in _by_place(story.slots).items():
        lines = [line for slot in slots for line in _slot(slot, now, locale)]
        sections.append(Lines(tuple(lines), title=place))
    is_build = not isinstance(story.subject, Deployment)
    sentence = "Why {build} is shown where it is" if is_build else "Why the deployment {build} is shown where it is"
    title = translate(locale, sentence, build=story.subject.key.short)
    footer = text(translate(locale, "… and {count} more", count=story.hidden_slots)) if story.hidden_slots else ()
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
    is_digest = SubjectKey.parse(card.subject).kind is SubjectKind.DIGEST
    name = translate(locale, "the digest, #{number}", number=card.id) if is_digest else slot_words(card.slot, locale)
    parts: list[Any] = [Strong(name), " · ", reason_words(reason, locale)]
    if reason:
        parts += [" · ", Code(reason)]
    next_try_at = delivery.next_try_at
    if next_try_at is not None and next_try_at > now:
        if delivery.place_reason and delivery.place_free_at == next_try_at:
            parts += [" · ", reason_words(delivery.place_reason, locale), " · ", Code(delivery.place_reason)]
        parts += [" · ", translate(locale, "next try"), " ", _moment(next_try_at)]
    if card.is_dead:
        parts += [" · ", Code(f"shipmate dead show {card.id}")]
    return [text(*parts), *(_attempt(attempt, locale) for attempt in slot.attempts)]


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
