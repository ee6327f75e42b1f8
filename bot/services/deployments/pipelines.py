"""Deploying by a run of a CI system: whatever reads and controls builds can carry deployments out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bot.domain.builds import BuildStatus
from bot.domain.deployments import Run
from bot.domain.subjects import SubjectKey
from bot.errors import DestinationGone, Unavailable
from bot.ports import BuildControl, BuildReader, Triggered
from bot.ports.deploying import Order, RunReport, RunState

_STATES = {
    BuildStatus.RUNNING: RunState.RUNNING,
    BuildStatus.SUCCESS: RunState.SUCCEEDED,
    BuildStatus.FAILED: RunState.FAILED,
    BuildStatus.CANCELLED: RunState.CANCELLED,
    BuildStatus.UNKNOWN: RunState.FAILED,  # it ended, and nobody says that it went well
}
# The request or the build itself is no more: all else that is missing, such as its project in the configuration, is a
# reason for not seeing it.
_GONE = frozenset({"request_gone", "request_cancelled", "request_superseded", "no_such_build"})


class BuildDeploys:
    """Implements `DeploySystem` over a source's builds: a pipeline is a project, a run one of its builds."""

    def __init__(self, control: BuildControl, reader: BuildReader) -> None:
        self._control = control
        self._reader = reader

    def probe(self, order: Order) -> None:
        """See `DeploySystem.probe`."""
        self._reader.list_builds(order.pipeline, 1)

    def deploy(self, order: Order) -> Run:
        """See `DeploySystem.deploy`."""
        triggered = self._control.run(
            order.pipeline, order.parameters, correlation=order.correlation, asked_by=order.asked_by
        )
        return _run(order, triggered)

    def find(self, order: Order) -> Run | None:
        """See `DeploySystem.find`."""
        found = self._control.find_run(order.pipeline, correlation=order.correlation, since=order.since, retried=None)
        return _run(order, found) if found is not None else None

    def look(self, order: Order, run: Run) -> RunReport:
        """See `DeploySystem.look`: the build is asked for itself, whatever any webhook said of it.

        It is found by its request each time: where its worker was lost the same request becomes another build, and
        where the configuration names another pipeline or address by now a build of the same number is a stranger's.
        """
        with _in_sight():
            build = self._control.follow(order.pipeline, run.request, correlation=order.correlation)
            if build is None:
                return RunReport(replace(run, build="", url=""), RunState.WAITING)
            facts = self._reader.fetch(build, with_log=False).facts
            state = _STATES[facts.status or BuildStatus.RUNNING]
            if state is RunState.CANCELLED and self._is_built_again(order, run, build):  # since it was asked for
                return RunReport(replace(run, build="", url=""), RunState.WAITING)
        return RunReport(replace(run, build=str(build), url=facts.url or run.url), state, facts.summary or "")

    def _is_built_again(self, order: Order, run: Run, build: SubjectKey) -> bool:
        return self._control.follow(order.pipeline, run.request, correlation=order.correlation) != build

    def stop(self, order: Order, run: Run) -> bool:
        """See `DeploySystem.stop`."""
        with _in_sight():
            build = self._control.follow(order.pipeline, run.request, correlation=order.correlation)
            if build is not None:
                return self._control.cancel(build, asked_by=order.asked_by)
            self._control.withdraw(order.pipeline, run.request, asked_by=order.asked_by)
        return True


@contextmanager
def _in_sight() -> Iterator[None]:
    """Whatever hides a run does not end it: Unavailable in place of a DestinationGone that is not the run's own."""
    try:
        yield
    except DestinationGone as problem:
        if problem.reason in _GONE:
            raise
        raise Unavailable(problem.system, problem.reason, problem.detail) from problem


def _run(order: Order, triggered: Triggered) -> Run:
    return Run(order.since.timestamp(), triggered.request, str(triggered.build or ""))
