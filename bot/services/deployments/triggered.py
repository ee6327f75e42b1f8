"""Deployments that a tracker asks for: the same requests, with the issue as their origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.domain.commands import Actor
from bot.domain.deployments import Deployment, Requester
from bot.domain.triggers import Firing
from bot.i18n import translate
from bot.ports import Transaction
from bot.services.deployments.gate import Held, held_at
from bot.services.deployments.records import Cause
from bot.services.deployments.requests import Proposal, Requests, Wish
from bot.services.deployments.versions import SHORT
from bot.services.presenters.deployment_words import sentence_of
from bot.services.tracking import DRY_RUN, Fired

_LAST = 2**53  # behind all that there are


@dataclass(frozen=True, slots=True)
class TriggeredDeployments:
    """Implements `Triggers`: whatever the environment asks for holds, but nobody is there to confirm.

    `people` says of each tracker who its accounts are: an account in chat, or an e-mail address.
    """

    requests: Requests
    people: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def propose(self, firing: Firing) -> Proposal:
        """See `Triggers.propose`."""
        trigger, change = firing.trigger, firing.change
        wish = Wish(
            trigger.service,
            trigger.environment,
            self._asker(firing),
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
        if stricter.needed and (account := self._account(firing)):  # nobody by the same address may approve it either
            self.requests.people.learn(Actor(account, "", email=change.email or None))
        return replace(proposal, target=replace(proposal.target, approvals=stricter))

    def rehearse(self, firing: Firing, locale: str) -> Fired:
        """See `Triggers.rehearse`: what the preview would say of it to a person."""
        proposal = self.propose(firing)

        def look(tx: Transaction, draft: Deployment) -> tuple[Deployment, Held | None]:
            last = replace(draft, number=_LAST)
            return draft, held_at(tx, last, proposal.target, draft.requested_at)

        draft, held = self.requests.rehearse(proposal, look)
        said = []
        if draft.terms.approvals:
            count, roles = draft.terms.approvals, ", ".join(draft.terms.approvers)
            said.append("🙋 " + translate(locale, "{count} of {roles} must approve", count=count, roles=roles))
        if held is not None:
            why = sentence_of(held.outcome, held.detail, locale)
            said.append(f"🕒 {translate(locale, 'Now it would have to wait.')} {why}")
        version, commit = draft.version.name, draft.version.commit[:SHORT]
        named = f"{version} ({commit})" if commit and commit not in version else version
        return Fired(reason=DRY_RUN, words="\n".join(said), version=named)

    def fire(self, tx: Transaction, firing: Firing, proposal: object) -> Fired:
        """See `Triggers.fire`."""
        assert isinstance(proposal, Proposal)
        change = firing.change
        cause = Cause("trigger", change.account or firing.trigger.tracker, firing.trigger.name)
        filed = self.requests.file(tx, proposal, cause)
        if change.account:  # whoever has its address is kept from approving what was asked for there
            known = self._known(firing)
            email = known if "@" in known else change.email
            self.requests.people.note(tx, Actor(change.account, change.person, email=email or None))
        return Fired(number=filed.number) if filed is not None else Fired(reason="duplicate")

    def _asker(self, firing: Firing) -> Requester:
        """Who made the change, by their account in chat where the configuration names that."""
        change, tracker = firing.change, firing.trigger.tracker
        return Requester(self._account(firing) or change.account or tracker, change.person or tracker)

    def _account(self, firing: Firing) -> str:
        """The account in chat that the configuration names; empty where it names none."""
        known = self._known(firing)
        return "" if "@" in known else known

    def _known(self, firing: Firing) -> str:
        """What the configuration says of who made the change; empty where it says nothing."""
        return self.people.get(firing.trigger.tracker, {}).get(firing.change.account.lower(), "")
