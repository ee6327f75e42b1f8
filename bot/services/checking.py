"""A run that may have been asked for: its source is asked until it tells, and nothing is started meanwhile.

An answer was lost, or a worker died between asking and noting. Only a clear word ends that: the run is there and is
followed, or there certainly is none. Then the command begins anew, unless its person was told of the doubt: whoever was
told decides alone whether it is still wanted. An end without a word keeps the effect, so that the next press looks
again before it starts anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.domain.cards import Notice
from bot.domain.commands import CommandLine, CommandState
from bot.domain.subjects import SubjectKey
from bot.errors import IntegrationError, Rejected
from bot.ports import CommandRecord, Triggered
from bot.services.following import Following, aim_of
from bot.services.owed import news_owed
from bot.services.presenters import replies
from bot.services.sources import Sources
from bot.services.steps import GIVE_UP_S, LATE_UNTIL, MOST_TRIES, Step, StepLog

CERTAIN_AFTER_S = 30.0  # by then no call that a worker made in time (acting.TRIGGER_WITHIN_S) can be under way
PATIENCE_S = 45.0
LONGEST_PAUSE_S = 300.0
MOST_ROUNDS = 8  # a command over which the worker dies before it asks must end, too


class Checking:
    """Looks for runs that may have been asked for."""

    def __init__(self, log: StepLog, sources: Sources, following: Following) -> None:
        self._log = log
        self._sources = sources
        self._following = following

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """The next look; `record.result` says at which source and project, and of which build a retry is (`of`)."""
        assert record.triggered_at is not None
        now = self._log.now()
        result: dict[str, Any] = {"looking_since": now, "told": [], **record.result}
        try:
            found = self._look(record)
        except IntegrationError as problem:
            return self._go_on(record, line, result, now, locale, problem)
        if found is not None:
            return self._following.begin(record, line, locale, found)
        if now < max(record.triggered_at + CERTAIN_AFTER_S, float(result.get(LATE_UNTIL, 0.0))):
            return self._go_on(record, line, result, now, locale)
        return self._not_done(record, line, result, locale)

    def _look(self, record: CommandRecord) -> Triggered | None:
        result = record.result
        control = self._sources.control(str(result["source"]))
        if control is None:  # taken out of the configuration meanwhile
            raise Rejected(str(result["source"]), "not_configured")
        return control.find_run(
            str(result["project"]),
            correlation=str(result.get("correlation") or record.command.id),
            since=datetime.fromtimestamp(record.triggered_at or 0.0, UTC),
            retried=SubjectKey.parse(str(result["of"])) if "of" in result else None,
        )

    def _go_on(
        self,
        record: CommandRecord,
        line: CommandLine,
        result: dict[str, Any],
        now: float,
        locale: str,
        problem: IntegrationError | None = None,
    ) -> Step:
        """Nothing is clear yet: look again, ever more seldom; the person is told once that it is not."""
        waited_s = now - result["looking_since"]
        if problem is not None and waited_s > GIVE_UP_S:
            entry = self._log.entry(record, line, aim_of(result), f"in_doubt:{problem.reason}")
            self._log.end(record, entry, CommandState.IN_DOUBT, owed=_owed("never_known", result))
            return Step(CommandState.IN_DOUBT, result, reply=_news("never_known", result, locale))
        is_due = problem is not None and (not problem.recoverable or now - (record.triggered_at or now) > PATIENCE_S)
        is_news = is_due and "unknown" not in result["told"]
        if is_news:
            result["told"] = [*result["told"], "unknown"]
        asked_s = problem.retry_after_s if problem is not None else None
        pause_s = max(min(max(1.0, waited_s / 2), LONGEST_PAUSE_S), asked_s or 0.0)
        self._log.hold(record, result, due_at=self._log.now() + pause_s, state=CommandState.IN_DOUBT)
        said = _news("unknown", result, locale) if is_news else None
        return Step(CommandState.IN_DOUBT, result, is_open=True, reply=said)

    def _not_done(self, record: CommandRecord, line: CommandLine, result: dict[str, Any], locale: str) -> Step:
        """There certainly is no such run: begin anew, or end where that was tried too often or is no longer ours."""
        rounds = int(result.get("rounds", 0)) + 1
        if "unknown" not in result["told"] and record.faults < MOST_TRIES and rounds < MOST_ROUNDS:
            self._log.begin_anew(record, {"rounds": rounds})
            return Step(CommandState.ACCEPTED, {"rounds": rounds}, is_open=True)
        entry = self._log.entry(record, line, aim_of(result), "failed:not_done")
        self._log.end(record, entry, CommandState.FAILED, frees_effect=True, owed=_owed("not_done", result))
        return Step(CommandState.FAILED, result, reply=_news("not_done", result, locale))


def _owed(kind: str, result: Mapping[str, Any]) -> dict[str, Any]:
    return news_owed(kind, project=str(result["project"]), system=str(result["source"]))


def _news(kind: str, result: Mapping[str, Any], locale: str) -> Notice:
    return replies.news(kind, locale, project=str(result["project"]), system=str(result["source"]))
