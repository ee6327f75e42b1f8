"""Looking at a deployment that is verified, and at its end how the service did meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.domain.checks import (
    CheckKind,
    CheckProgress,
    CheckSpec,
    Measurement,
    Reason,
    Verdict,
    advance,
    drop,
    hold,
    turned_back,
)
from bot.domain.deployments import Deployment, note
from bot.domain.services import Target
from bot.ports import Transaction
from bot.ports.deploying import DeploymentLease
from bot.services.deployments.judging import context_of
from bot.services.deployments.records import Records
from bot.services.deployments.standing import well_until
from bot.services.settling import Settling
from bot.services.verification import CheckContext, Verification

TENDER_S = 300.0  # so long after a pause a system is asked with care
RATE_LIMITED = "rate_limited"
Told = tuple[tuple[str, float], ...]


class Verifying:
    """Measures checks and asks for figures; what is stored of them is for others, but for figures that come late."""

    def __init__(self, records: Records, verification: Verification) -> None:
        self._settling = Settling.of(records.store)
        self._records = records
        self._verification = verification

    def look(self, lease: DeploymentLease, deployment: Deployment, target: Target) -> tuple[CheckProgress, ...]:
        """The checks after everything that is due was measured, and what is no check any more was given up."""
        now, specs = self._records.now(), {spec.name: spec for spec in target.checks}
        deployment = replace(deployment, checks=turned_back(deployment.checks, now))
        due = [one for one in deployment.checks if one.is_running and one.next_at <= now and one.name in specs]
        asked = [specs[one.name] for one in due]
        looks = self._measured(lease, asked, self._seen(deployment, asked), now)
        seen = {}
        for one in due:
            look, spec = looks[one.name], specs[one.name]
            seen[one.name] = hold(spec, one, look) if look.pause_s else advance(spec, one, look)
        kept = (one if one.name in specs else drop(one) for one in deployment.checks)
        return tuple(seen.get(one.name, one) for one in kept)

    def _seen(self, deployment: Deployment, specs: Sequence[CheckSpec]) -> CheckContext:
        """What checks are told of it; what went wrong before it is no measure for those that compare."""
        context = context_of(deployment)
        if all(spec.kind is not CheckKind.COMPARE for spec in specs):
            return context
        return replace(context, well_until=self._records.store.read(lambda tx: well_until(tx, deployment)))

    def _measured(
        self, lease: DeploymentLease, specs: Sequence[CheckSpec], context: CheckContext, now: float
    ) -> dict[str, Measurement]:
        """A look for each check by its name; none at a system that wants to be left alone.

        A system that was left alone of late is asked by one check first: if it refuses again the others do not ask.
        """
        until = self._pauses(specs)
        looks: dict[str, Measurement] = {}
        first: list[CheckSpec] = []
        for spec in specs:
            is_tried = any(one.source == spec.source for one in first)
            if until.get(spec.source, 0.0) <= now and not (is_tried and until.get(spec.source)):
                first.append(spec)
        for some in (first, [spec for spec in specs if spec not in first]):
            asked = [spec for spec in some if until.get(spec.source, 0.0) <= now]
            found = self._verification.measure_all(asked, context, now)
            looks |= {spec.name: look for spec, look in zip(asked, found, strict=True)}
            until |= self._noted(
                lease, {spec.source: look for spec, look in zip(asked, found, strict=True) if look.pause_s}
            )
        for spec in specs:
            if spec.name not in looks:
                detail, pause_s = f"{spec.source}: {RATE_LIMITED}", until[spec.source] - now
                looks[spec.name] = Measurement(now, Verdict.ERROR, None, detail, (), Reason.UNASKED, 0.0, pause_s)
        return looks

    def _pauses(self, specs: Sequence[CheckSpec]) -> dict[str, float]:
        """Until when each of their systems wants to be left alone, or wanted to be of late."""
        scopes = {_scope(spec.source): spec.source for spec in specs if spec.source}
        if not scopes:
            return {}
        since = self._records.now() - TENDER_S
        found = self._records.store.read(lambda tx: tx.pacing.pauses(scopes, since))
        return {scopes[scope]: until for scope, until in found.items()}

    def _noted(self, lease: DeploymentLease, refused: Mapping[str, Measurement]) -> dict[str, float]:
        """Until when systems that have just refused want to be left alone, by all checks and workers."""
        until = {name: look.at + look.took_s + look.pause_s for name, look in refused.items() if name}

        def work(tx: Transaction) -> None:
            for name, at in sorted(until.items()):
                tx.pacing.pause(_scope(name), at)

        if until:
            self._settling.settle(lease, work)
        return until

    def figures_of(self, deployment: Deployment, target: Target) -> Told:
        """Each known figure by its name, for the time since its run went well; empty where nobody can tell."""
        context, now = context_of(deployment), self._records.now()
        if not context.there_since:
            return ()
        until = self._pauses(target.checks)
        checks = [spec for spec in target.checks if until.get(spec.source, 0.0) <= now]
        found = self._verification.figures(checks, context, start=context.there_since, end=now)
        return tuple((figure.value, value) for figure, value in found.items())

    def add_figures(self, lease: DeploymentLease, ended: Deployment, target: Target) -> None:
        """Tell them of one whose end was stored already: what follows from a failure does not wait for figures."""
        found = self.figures_of(ended, target)
        if not found:
            return

        def work(tx: Transaction) -> None:
            current = tx.deployments.get(ended.number, for_change=True)
            if current is not None and not current.figures:
                self._records.progress(tx, note(current, figures=found), due_at=None)

        self._settling.settle(lease, work)


def _scope(source: str) -> str:
    """What stands for a metrics system beside the platforms' places and accounts."""
    return f"metrics:{source}"[:200]
