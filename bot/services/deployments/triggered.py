"""Deployments that a tracker asks for: the same requests, with the issue as their origin."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.commands import Actor
from bot.domain.deployments import Requester
from bot.domain.triggers import Firing
from bot.ports import Transaction
from bot.services.deployments.records import Cause
from bot.services.deployments.requests import Proposal, Requests, Wish
from bot.services.tracking import Fired


@dataclass(frozen=True, slots=True)
class TriggeredDeployments:
    """Implements `Triggers`: whatever the environment asks for holds, but nobody is there to confirm."""

    requests: Requests

    def propose(self, firing: Firing) -> Proposal:
        """See `Triggers.propose`."""
        trigger, change = firing.trigger, firing.change
        wish = Wish(
            trigger.service,
            trigger.environment,
            Requester(change.account or trigger.tracker, change.person or trigger.tracker),
            f"trigger:{firing.key}",
            version=firing.version,
            origin=trigger.tracker,
            reason=f"{change.target}: {trigger.kind.value.replace('_', ' ')}",
            issues=(change.issue.key,) if change.issue is not None else (),
            is_confirmed=True,
        )
        proposal = self.requests.propose(wish)
        rule = proposal.target.approvals
        stricter = replace(rule, needed=max(rule.needed, trigger.approvals))
        return replace(proposal, target=replace(proposal.target, approvals=stricter))

    def fire(self, tx: Transaction, firing: Firing, proposal: object) -> Fired:
        """See `Triggers.fire`."""
        assert isinstance(proposal, Proposal)
        change = firing.change
        cause = Cause("trigger", change.account or firing.trigger.tracker, firing.trigger.name)
        filed = self.requests.file(tx, proposal, cause)
        if change.account:  # whoever has its address is kept from approving what was asked for there
            self.requests.people.note(tx, Actor(change.account, change.person, email=change.email or None))
        return Fired(number=filed.number) if filed is not None else Fired(reason="duplicate")
