"""Looking at a deployment that is verified, and at its end how the service did meanwhile."""

from __future__ import annotations

from bot.domain.checks import CheckProgress, advance, drop
from bot.domain.deployments import Deployment, note
from bot.domain.services import Target
from bot.ports import Transaction
from bot.services.deployments.judging import context_of
from bot.services.deployments.records import Records
from bot.services.verification import Verification

Told = tuple[tuple[str, float], ...]


class Verifying:
    """Measures checks and asks for figures; what is stored of them is for others, but for figures that come late."""

    def __init__(self, records: Records, verification: Verification) -> None:
        self._records = records
        self._verification = verification

    def look(self, deployment: Deployment, target: Target) -> tuple[CheckProgress, ...]:
        """The checks after everything that is due was measured, and what is no check any more was given up."""
        now, specs = self._records.now(), {spec.name: spec for spec in target.checks}
        due = [one for one in deployment.checks if one.is_running and one.next_at <= now and one.name in specs]
        looks = self._verification.measure_all([specs[one.name] for one in due], context_of(deployment), now)
        seen = {one.name: advance(specs[one.name], one, look) for one, look in zip(due, looks, strict=True)}
        kept = (one if one.name in specs else drop(one) for one in deployment.checks)
        return tuple(seen.get(one.name, one) for one in kept)

    def figures_of(self, deployment: Deployment, target: Target) -> Told:
        """Each known figure by its name, for the time since its run went well; empty where nobody can tell."""
        context, now = context_of(deployment), self._records.now()
        if not context.there_since:
            return ()
        found = self._verification.figures(target.checks, context, start=context.there_since, end=now)
        return tuple((figure.value, value) for figure, value in found.items())

    def add_figures(self, ended: Deployment, target: Target) -> None:
        """Tell them of one whose end was stored already: what follows from a failure does not wait for figures."""
        found = self.figures_of(ended, target)
        if not found:
            return

        def work(tx: Transaction) -> None:
            current = tx.deployments.get(ended.number, for_change=True)
            if current is not None and not current.figures:
                self._records.progress(tx, note(current, figures=found), due_at=None)

        self._records.store.write(work)
