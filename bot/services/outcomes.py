"""What an attempt came to: how its slot is settled, how long its destination rests, and what else follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.budgets import Window
from bot.domain.places import CARD_SLOT, Operation
from bot.domain.retries import LONGEST_PAUSE_S, MOST_TRIES, OF_CONTENT, pause_s
from bot.domain.routing import Updates
from bot.errors import AuthFailed, DestinationGone, IntegrationError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from bot.ports import CardRecord, Settlement
from bot.services import doubts
from bot.services.budgeting import TOO_MANY, Held
from bot.services.owed import BUDGET
from bot.services.planning import NOT_CONFIGURED, REST_S, Delivery
from bot.services.silence import ASK_EVERY_S, LONG_TRIES
from bot.telemetry import redact

DOUBT_PAUSE_S = 2.0
LATE_START = "late_start"
SLOW_SEARCH = "slow_search"
LONGEST_REST_S = 15.0  # of a place, while one card of it that failed rests longer: the others are not to blame


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a slot is settled; its destination rests for `rest_s` beyond its budget.

    `was_called` says that the platform may have been called, `unanswered` which call of it got no answer. `paused` are
    windows in which nothing goes before the slot is due again. `is_repeated` says that a post was made a second time,
    and may stand twice. `further` are the calls that it took beside those that it was claimed with.
    """

    settlement: Settlement
    rest_s: float = 0.0
    was_called: bool = True
    unanswered: Operation | None = None
    paused: tuple[Window, ...] = ()
    is_repeated: bool = False
    further: tuple[Held, ...] = ()


def after_failure(delivery: Delivery, problem: IntegrationError, operation: Operation, now: float) -> Outcome:
    """What follows from a failed call; `operation` is the one that failed."""
    outcome = _after_failure(delivery, problem, operation, now)
    settlement = replace(outcome.settlement, detail=redact(problem.detail))
    is_unanswered = outcome.was_called and isinstance(problem, OutcomeUnknown | Unavailable)
    is_unanswered = is_unanswered and problem.reason not in (TOO_MANY, SLOW_SEARCH)  # all pages were answers
    return replace(outcome, settlement=settlement, unanswered=operation if is_unanswered else None)


def _after_failure(delivery: Delivery, problem: IntegrationError, operation: Operation, now: float) -> Outcome:
    card, is_post = delivery.card, delivery.operation.is_new
    match problem:
        case RateLimited():
            return _after_refusal(delivery, problem, operation, now)
        case OutcomeUnknown() if is_post and operation is not Operation.FIND:
            return _in_doubt(delivery, give_up_slowly(card, problem.reason, now), now)
        case DestinationGone() if problem.reason == "message_not_found" and not is_post:
            return Outcome(Settlement(card.id, "deleted", forget_ref=True))
        case DestinationGone() if problem.reason == "cannot_edit" and not is_post:
            return Outcome(_where_edits_are_off(delivery))
        case DestinationGone() if problem.reason == "not_configured":  # here; another process may know it
            waits = Settlement(card.id, NOT_CONFIGURED, due_at=now + REST_S, tries=max(card.tries, 1))
            return Outcome(replace(waits, keep_attempt=delivery.is_in_doubt), REST_S, was_called=False)
        case DestinationGone() | Rejected():
            return Outcome(Settlement(card.id, f"dead:{problem.reason}", is_dead=True))
        case AuthFailed():
            # However long it takes somebody to put another credential in place: the card is not to blame.
            waits = Settlement(card.id, f"failed:{problem.reason}", due_at=now + REST_S, tries=max(card.tries, 1))
            return Outcome(replace(waits, is_refused=True, keep_attempt=delivery.is_in_doubt), REST_S)
        case _:
            slowly = give_up_slowly(card, problem.reason, now)
            settlement = replace(slowly.settlement, keep_attempt=delivery.is_in_doubt)
            if delivery.is_in_doubt and not settlement.is_dead and doubts.lasts_s(card) == doubts.LATE_S:
                settlement = replace(settlement, reason=doubts.TIMED_OUT)
            if not is_post and isinstance(problem, OutcomeUnknown):
                settlement = replace(settlement, shown_digest=doubts.unsure_after(card, problem.reason, now))
            return Outcome(settlement, slowly.rest_s, was_called=problem.reason != LATE_START)


def _after_refusal(delivery: Delivery, problem: RateLimited, operation: Operation, now: float) -> Outcome:
    """The platform asks for a pause, of the place, or of what the account's budget counts."""
    pause = problem.retry_after_s or DOUBT_PAUSE_S
    windows = delivery.capabilities.account_budgets.get(operation, ()) if problem.scope == "account" else ()
    card, is_in_doubt = delivery.card, delivery.is_in_doubt
    if problem.reason == BUDGET:  # ours, for what it takes to look further
        return Outcome(
            Settlement(card.id, "paused:budget", keep_attempt=is_in_doubt, due_at=now + pause, tries=card.tries)
        )
    tries = card.tries if is_in_doubt else 0
    settlement = Settlement(card.id, "paused:rate_limited", keep_attempt=is_in_doubt, due_at=now + pause, tries=tries)
    return Outcome(settlement, 0.0 if windows else pause, paused=tuple(windows[:1]))


def _in_doubt(delivery: Delivery, slowly: Outcome, now: float) -> Outcome:
    """A post that may have been made, or may be made yet; where nobody can be asked it is made again, but not soon."""
    settlement = slowly.settlement
    slowly = replace(slowly, is_repeated=delivery.is_in_doubt and not delivery.capabilities.can_find)
    if settlement.is_dead:
        return replace(slowly, settlement=replace(settlement, keep_attempt=True))
    due_at = max(settlement.due_at, now + DOUBT_PAUSE_S)
    if settlement.reason == doubts.TIMED_OUT and not delivery.capabilities.can_find:
        due_at = now + doubts.repeat_pause_s(settlement.tries)
    return replace(slowly, settlement=replace(settlement, keep_attempt=True, due_at=due_at))


def found(delivery: Delivery, ref: str) -> Outcome:
    """What follows when a post in doubt is there: it shows what was wanted when it was begun."""
    card = delivery.card
    is_final = delivery.is_final if card.attempt_revision == delivery.subject.revision else None
    return Outcome(Settlement(card.id, "found", card.attempt_revision, "", ref, shown_final=is_final))


def not_found(delivery: Delivery, now: float) -> Outcome:
    """What follows when the platform knows nothing of a post in doubt: it may be made yet, or it never will.

    Then it is made anew, as an attempt of its own where the platform would take both.
    """
    card = delivery.card
    if now >= doubts.ends_at(card):
        is_same = delivery.capabilities.is_idempotent
        return Outcome(Settlement(card.id, doubts.ABSENT, keep_attempt=is_same, tries=card.tries))
    due_at = doubts.next_look_at(card, now)
    return Outcome(Settlement(card.id, card.reason, keep_attempt=True, due_at=due_at, tries=card.tries))


def give_up_slowly(card: CardRecord, reason: str, now: float, *, is_hopeless: bool = False) -> Outcome:
    """Another try later, or the end."""
    tries = card.tries + 1
    if is_hopeless or tries >= MOST_TRIES:
        return Outcome(Settlement(card.id, f"dead:{reason}", is_dead=True))
    pause = pause_s(tries)
    settlement = Settlement(card.id, f"failed:{reason}", due_at=now + pause, tries=tries)
    return Outcome(settlement, min(pause, LONGEST_REST_S))


def may_ask(delivery: Delivery, outcome: Outcome, now: float) -> bool:
    """Whether a card that got no answer could be tried again soon, to find out whether its account is back.

    Not one that may stand there already, where nobody can be asked: each further try might be a post too many.
    """
    settlement = outcome.settlement
    may_double = settlement.keep_attempt and not delivery.capabilities.can_find
    return (
        outcome.unanswered is not None
        and not settlement.is_dead
        and settlement.due_at > now + ASK_EVERY_S
        and not may_double
    )


def asking(delivery: Delivery, outcome: Outcome, now: float, at: float) -> Outcome:
    """How such a card is settled: to be tried again `at` then. What is asked for all counts as little as waiting would.

    That is a try for each of the longest pauses between tries.
    """
    counts = int(at // LONGEST_PAUSE_S) - int(now // LONGEST_PAUSE_S)
    tries = min(outcome.settlement.tries, max(delivery.card.tries, LONG_TRIES) + counts)
    return replace(outcome, settlement=replace(outcome.settlement, due_at=at, tries=tries))


def spare_the_end(delivery: Delivery, settlement: Settlement) -> Settlement:
    """The same, but that an end which came during the attempt is tried, as one that comes after it is."""
    card = delivery.card
    is_of_content = settlement.reason.partition(":")[2] in OF_CONTENT
    may_end = card.message_ref is not None or (is_of_content and not delivery.is_final)
    if not (settlement.is_dead and card.slot == CARD_SLOT and may_end):
        return settlement
    return replace(settlement, spares_end_after=delivery.subject.revision)


def _where_edits_are_off(delivery: Delivery) -> Settlement:
    """As at places that never edit: the final state is a post of its own, and so is all else where the route asks."""
    card = delivery.card
    asks_for_all = card.options.get("updates") == Updates.ALL.value
    if asks_for_all or (delivery.is_final and not card.shown_final):
        return Settlement(card.id, "cannot_edit", forget_ref=True)
    return Settlement(card.id, "filtered:cannot_edit", shown_revision=delivery.subject.revision)
