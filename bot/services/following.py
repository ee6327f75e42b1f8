"""A triggered run, from its request to its number: asked about until its source says how it ended.

The effect is freed only when the source says that the request is over. Whatever else it answers, and however long it
takes, the request may still become a build: a second one beside it would be one too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bot.domain.builds import BuildFacts
from bot.domain.cards import Notice, Strong, text
from bot.domain.commands import CommandLine, CommandState
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey
from bot.errors import DestinationGone, IntegrationError
from bot.i18n import translate
from bot.ports import CommandRecord, Transaction, Triggered
from bot.services.ingest import Ingest
from bot.services.owed import news_owed, problem_owed
from bot.services.presenters import replies
from bot.services.signal import Signal
from bot.services.sources import Sources
from bot.services.steps import GIVE_UP_S, Step, StepLog, append_once, first_asker, must_hold

PACES = ((4.0, 0.3), (3600.0, 5.0))  # until so many seconds have passed, so many between two looks
SLOWEST_S = 60.0
PATIENCE_S = 4.0
LONG_S = 3600.0
TAKEN_OVER = "taken_over"
OVER = frozenset({"request_cancelled", "request_superseded", "request_gone"})


class Following:
    """Follows runs that were asked for."""

    def __init__(self, log: StepLog, sources: Sources, ingest: Ingest, signal: Signal) -> None:
        self._log = log
        self._sources = sources
        self._ingest = ingest
        self._signal = signal

    def begin(self, record: CommandRecord, line: CommandLine, locale: str, triggered: Triggered) -> Step:
        """Note that a run was asked for, and look for it."""
        now = self._log.now()
        result = {**record.result, "request": triggered.request, "asked_at": now, "told": []}
        if triggered.build is not None:
            result["build"] = str(triggered.build)
        self._log.hold(record, result, due_at=self._log.step_ends_at())
        return self.step(replace(record, result=result), line, locale)

    def step(self, record: CommandRecord, line: CommandLine, locale: str) -> Step:
        """The next look; DestinationGone, audited, when the source says that the request ended without a build."""
        result: dict[str, Any] = dict(record.result)
        source, project, waited_s = str(result["source"]), str(result["project"]), self._log.now() - _seconds(result)
        build = SubjectKey.parse(str(result["build"])) if "build" in result else None
        is_refused = False
        if build is None:
            build, is_refused = self._look(record, line, source, project)
        if build is not None:
            return self._started(record, line, build, locale)
        if waited_s > GIVE_UP_S:
            entry = self._log.entry(record, line, aim_of(result), "in_doubt:never_started")
            owed = news_owed("given_up", project=project, system=source)
            self._log.end(record, entry, CommandState.IN_DOUBT, owed=owed)
            return Step(
                CommandState.IN_DOUBT, result, reply=replies.news("given_up", locale, project=project, system=source)
            )
        news = _news(result, waited_s, is_refused=is_refused)
        if news is not None:
            result["told"] = [*result.get("told", ()), news]
        pause_s = next((pause for until, pause in PACES if waited_s < until), SLOWEST_S)
        self._log.hold(record, result, due_at=self._log.now() + pause_s)
        return Step(CommandState.RUNNING, result, is_open=True, reply=_said(news, record, locale))

    def _look(
        self, record: CommandRecord, line: CommandLine, source: str, project: str
    ) -> tuple[SubjectKey | None, bool]:
        """The run a request became, and whether its source refuses to tell; it is asked again, for the run may come."""
        control = self._sources.control(source)
        if control is None:  # taken out of the configuration meanwhile
            return None, True
        try:
            return control.follow(project, str(record.result["request"])), False
        except IntegrationError as problem:
            if isinstance(problem, DestinationGone) and problem.reason in OVER:
                entry = self._log.entry(record, line, aim_of(record.result), f"failed:{problem.reason}")
                self._log.end(record, entry, CommandState.FAILED, frees_effect=True, owed=problem_owed(problem))
                raise
            return None, not problem.recoverable

    def _started(self, record: CommandRecord, line: CommandLine, build: SubjectKey, locale: str) -> Step:
        result = {**record.result, "build": str(build)}
        of = SubjectKey.parse(str(result["of"])) if "of" in result else None
        now, told_by = self._log.now(), self._log.step_ends_at()
        entry = self._log.entry(record, line, str(of or build), f"done:{build}")

        def work(tx: Transaction) -> None:
            if record.command.state is not CommandState.DONE:  # else this was recorded and only not said
                append_once(tx, record, entry)
            if of is not None and (event := _retried(tx, record, of, build)) is not None:
                self._ingest.accept_in(tx, event, now)
            must_hold(tx.commands.settle(record, CommandState.DONE, result, is_open=True, due_at=told_by))

        self._log.write(record, work)
        self._signal.ring()
        if "first" in result:  # taken over from somebody, who was never told
            name, account = first_asker(record)
            return Step(CommandState.DONE, result, reply=replies.already(locale, name, account, build.short))
        parts = (translate(locale, "Started build"), " ", Strong(build.short))
        return Step(CommandState.DONE, result, reply=Notice("🔁", text(*parts), locale=locale))


def aim_of(result: Mapping[str, Any]) -> str:
    """What the trail says a command is about: the build that it repeats, or the project of which it starts one."""
    return str(result.get("of") or f"{result['source']}/{result['project']}")


def _news(result: Mapping[str, Any], waited_s: float, *, is_refused: bool) -> str | None:
    """What the person has to be told now, each at most once."""
    told = result.get("told", ())
    if "first" in result and TAKEN_OVER not in told:
        return TAKEN_OVER
    if is_refused:
        return None if "refused" in told else "refused"
    if waited_s > LONG_S:
        return None if "long" in told else "long"
    return "queued" if waited_s > PATIENCE_S and not told else None


def _said(news: str | None, record: CommandRecord, locale: str) -> Notice | None:
    source = str(record.result["source"])
    if news == TAKEN_OVER:
        return replies.in_doubt(locale, *first_asker(record), source)
    return replies.news(news, locale, project=str(record.result["project"]), system=source) if news else None


def _retried(tx: Transaction, record: CommandRecord, of: SubjectKey, build: SubjectKey) -> Event | None:
    """The event by which the old card says what came of it."""
    old = tx.subjects.get(of)
    if old is None:
        return None
    return Event(
        source=of.source,
        delivery_key=f"retried:{record.command.id}",
        kind=EventKind.BUILD_RETRIED,
        subject=of,
        occurred_at=datetime.fromtimestamp(record.command.accepted_at, UTC),
        phase=old.folded.phase,
        facts=BuildFacts(retried_as=build.short, retried_by=first_asker(record)[0]),
        generation=old.folded.generation,
        attempt=old.folded.attempt,
    )


def _seconds(result: Mapping[str, object]) -> float:
    asked_at = result["asked_at"]
    assert isinstance(asked_at, float)
    return asked_at
