"""What holds a due slot back so that its channel is quiet: quiet hours, a storm that goes on, a build that flaps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.builds import BuildStatus
from bot.domain.noise import count_turns, has_newer_turn, quiet_until
from bot.domain.places import CARD_SLOT, NOTICE_SLOT, Capabilities, kind_of_slot
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import CardRecord, SubjectRecord, Transaction

Hold = tuple[float, str]
ENDS_WITHIN_S = 10.0  # the end of one build is seen in its digest so soon, however slow the route's pace is
LONGEST_GATHERING_S = 120.0  # where a digest cannot be changed: people are not to wait for a storm's end


@dataclass(frozen=True, slots=True)
class Flapping:
    """A project's branch that turned `turns` times within `per_s` seconds.

    Its notices at a destination share the budget `scope`: none before `resumes_at`. `is_outdated`: a later run tells
    more than this one.
    """

    turns: int
    per_s: float
    scope: str
    resumes_at: float
    is_outdated: bool


def quiet_hold(card: CardRecord, now: float) -> Hold | None:
    """Until when nothing is posted for quiet hours."""
    hours = card.options.get("quiet")
    if not hours:
        return None
    ends = quiet_until(hours, datetime.fromtimestamp(now, UTC), card.options.get("timezone", "UTC"))
    return None if ends is None else (ends.timestamp(), "held:quiet_hours")


def storm_hold(tx: Transaction, card: CardRecord, capabilities: Capabilities, now: float) -> Hold | None:
    """Until when a digest gathers builds, where its post cannot be changed afterwards."""
    if capabilities.can_edit or SubjectKey.parse(card.subject).kind is not SubjectKind.DIGEST:
        return None
    storm = tx.noise.storm(card.destination)
    if storm.digest != card.subject:
        return None
    until = min(storm.quiet_at, storm.begun_at + LONGEST_GATHERING_S)
    if now < until:
        return until, "held:storm"
    going_on = tx.noise.storm(card.destination, for_change=True)
    if going_on.digest == card.subject:
        # What is stored from now on would not be seen in it, though it came before by a clock that is behind ours, or
        # waited to be stored.
        tx.noise.put_storm(card.destination, replace(going_on, digest=""))
    return None


def flapping_of(tx: Transaction, card: CardRecord, subject: SubjectRecord) -> Flapping | None:
    """How a slot's branch flaps, where its route asks for that to be noticed and it turned more often than allowed.

    Turns are counted among the runs that began within the window before this one, in whatever order they were heard of.
    """
    if "flapping" not in card.options or kind_of_slot(card.slot) not in (CARD_SLOT, NOTICE_SLOT):
        return None
    more_than, per_s = card.options["flapping"]
    began_at, branch = subject.folded.ordered_at, str(subject.folded.values.get("branch") or "")
    runs = tx.noise.runs(subject.key, branch, began_at - per_s)
    turns = count_turns([run for run in runs if run.ordered_at <= began_at])
    if turns <= more_than:
        return None
    line = f"{card.destination}\n{subject.key.source}/{subject.key.project}\n{branch}"
    scope = f"flapping:{hashlib.sha256(line.encode()).hexdigest()[:40]}"
    resumes_at, _ = tx.pacing.arrival(scope)
    return Flapping(turns, per_s, scope, resumes_at, has_newer_turn(runs, began_at))


def flapping_hold(card: CardRecord, flapping: Flapping | None, now: float) -> Hold | None:
    """Until when a notice waits because its branch flaps and another one was sent."""
    if flapping is None or kind_of_slot(card.slot) != NOTICE_SLOT or flapping.resumes_at <= now:
        return None
    return flapping.resumes_at, "held:flapping"


def is_outdated(card: CardRecord, flapping: Flapping | None) -> bool:
    """Whether a notice of a flapping branch need not be sent any more; not where it may have been posted."""
    is_new_notice = kind_of_slot(card.slot) == NOTICE_SLOT and card.attempt_id is None
    return flapping is not None and flapping.is_outdated and is_new_notice


def rings(card: CardRecord, subject: SubjectRecord, capabilities: Capabilities) -> bool:
    """Whether a slot calls people: a notice, or the final post where each state is a post of its own."""
    if card.slot != CARD_SLOT:
        return kind_of_slot(card.slot) == NOTICE_SLOT
    if capabilities.can_edit or card.shown_final or not card.is_final:
        return False
    return subject.folded.status == BuildStatus.FAILED or subject.is_fixed
