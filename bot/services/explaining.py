"""The whole way of a build or deployment: what happened, the routes' answers, what stands where, and how it came."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bot.domain.commands import Reference
from bot.domain.deployments import SOURCE, Deployment, DeploymentState
from bot.domain.routing import DIMENSIONS, Shown, traits_of
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import CommandInvalid
from bot.ports import DeliveryQuery, DeliveryRecord, Transaction
from bot.services.presenters.explain import Explanation, RouteAnswer, SlotStory
from bot.services.router import Opening, Router

EVENTS = 10
ROUTES = 12
SLOTS = 8  # with their attempts
MOST = 1000
ATTEMPTS = 4
MOST_DIGITS = 18
_CARD_ID = re.compile(r"#?(\d{1,18})")


def card_id_of(word: str) -> int | None:
    """The number of a delivery, as `shipmate dead list` shows it: `17` or `#17`; None for anything else."""
    found = _CARD_ID.fullmatch(word)
    return int(found[1]) if found else None


def explain_delivery(tx: Transaction, router: Router, card_id: int) -> Explanation:
    """The way of one delivery, of a digest that alone; CommandInvalid where there is none of that number."""
    found = tx.inspection.find(DeliveryQuery(ids=(card_id,)), 1)
    if not found:
        raise CommandInvalid("unknown_card", f"#{card_id}")
    key = SubjectKey.parse(found[0].card.subject)
    digest = tx.subjects.get(key) if key.kind is SubjectKind.DIGEST else None
    if digest is not None:
        stories = [_story(tx, found[0])]
        return Explanation(digest.build(), (), slots=stories, only_place=found[0].card.destination)
    if key.kind not in (SubjectKind.BUILD, SubjectKind.DEPLOYMENT):
        raise CommandInvalid("unknown_card", f"#{card_id}")
    return explain(tx, router, key, only=found[0].card.destination)


def explain(tx: Transaction, router: Router, key: SubjectKey, *, only: str = "") -> Explanation:
    """The way of a subject to all its places, or to `only` one; CommandInvalid for one that nobody has heard of."""
    shown = _shown(tx, key)
    deliveries = _found(tx, key, only)
    openings = [one for one in router.openings(tx, shown) if only in ("", one.destination)]
    routes = _routes(tx, router, shown, openings, deliveries)
    # What does not stand where it should is what people ask about: it comes first, and none of it is left out.
    standing = sorted([*deliveries, *_digests_of(tx, deliveries)], key=lambda one: not one.is_missing)
    told = sorted(standing[:SLOTS], key=_by_place)
    missing = [one for one in standing if one.is_missing]
    return Explanation(
        shown,
        tx.events.of_subject(str(key), EVENTS),
        routes[:ROUTES],
        [_story(tx, delivery) for delivery in told],
        hidden_routes=max(0, len(routes) - ROUTES),
        missing=missing if len(missing) > SLOTS else (),
        others=[one for one in standing[SLOTS:] if not one.is_missing],
        only_place=only,
    )


def _found(tx: Transaction, key: SubjectKey, only: str) -> list[DeliveryRecord]:
    """All slots of a subject by their places; where they are too many, those that something is amiss with are there."""
    wanted = DeliveryQuery(subject=str(key), destination=only or None)
    queries = (replace(wanted, is_dead=True), replace(wanted, is_pending=True), wanted)
    found = {one.card.id: one for query in queries for one in tx.inspection.find(query, MOST)}
    return sorted(found.values(), key=_by_place)


def _by_place(delivery: DeliveryRecord) -> tuple[str, int]:
    return delivery.label, delivery.card.id


def _story(tx: Transaction, delivery: DeliveryRecord) -> SlotStory:
    return SlotStory(delivery, tuple(tx.inspection.attempts(delivery.card.id, ATTEMPTS)))


def _digests_of(tx: Transaction, deliveries: Sequence[DeliveryRecord]) -> list[DeliveryRecord]:
    """The digests in which some of these stand: what holds them back holds all that is in them."""
    found: dict[int, DeliveryRecord] = {}
    for delivery in deliveries:
        if digest := delivery.card.folded_into:
            query = DeliveryQuery(subject=digest, destination=delivery.card.destination)
            found |= {one.card.id: one for one in tx.inspection.find(query, 1)}
    return list(found.values())


def deployment_named(tx: Transaction, reference: Reference) -> Deployment | None:
    """The deployment that a person may mean; of one that is not confirmed yet only its requester knows."""
    if not reference.number.isdecimal() or len(reference.number) > MOST_DIGITS:
        return None
    found = tx.deployments.get(int(reference.number))
    if found is None or found.service != reference.project or found.state is DeploymentState.REQUESTED:
        return None
    return found


def means_deployment(reference: Reference) -> bool:
    """Whether the words leave no doubt that a deployment is meant."""
    return reference.kind == SubjectKind.DEPLOYMENT or (reference.kind is None and reference.source == SOURCE)


def _shown(tx: Transaction, key: SubjectKey) -> Shown:
    if key.kind is SubjectKind.DEPLOYMENT:
        deployment = tx.deployments.get(int(key.number))
        if deployment is None:
            raise CommandInvalid("unknown_deployment", key.short)
        return deployment
    record = tx.subjects.get(key)
    if record is None:
        raise CommandInvalid("unknown_build", key.short)
    return record.build()


def _routes(
    tx: Transaction, router: Router, shown: Shown, openings: Sequence[Opening], deliveries: Sequence[DeliveryRecord]
) -> list[RouteAnswer]:
    """A route's places with the same answer stand together; a place that is muted has an answer of its own."""
    labels = {delivery.card.destination: delivery.label for delivery in deliveries}
    places: dict[tuple[str, str], list[str]] = {}
    routes = {}
    for opening in openings:
        settings = router.settings_of(tx, opening.destination)
        name = settings.name if settings else labels.get(opening.destination, opening.destination)
        answer = (opening.judgement.route.name, opening.reason)
        places.setdefault(answer, []).append(name)
        routes[answer] = opening.judgement.route
    traits = traits_of(shown)
    answers = []
    for (name, reason), names in places.items():
        dimension = reason.partition(":")[2] if reason.startswith("filtered:") else ""
        wanted, found = (), ""
        if dimension in DIMENSIONS:
            wanted, found = getattr(routes[name, reason].match, dimension), getattr(traits, dimension)
        answers.append(RouteAnswer(name, reason, tuple(names), wanted, found))
    return answers
