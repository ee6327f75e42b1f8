"""Who may do what with deployments: judged when a command runs; whom it refuses stands on the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.commands import SPECS, CommandLine, Verb
from bot.domain.deployments import Deployment
from bot.domain.identity import Decision
from bot.domain.services import Target
from bot.errors import Conflict, NotPermitted
from bot.ports import CommandRecord
from bot.services.deployments.judging import permission_to
from bot.services.deployments.records import Cause, Records
from bot.services.deployments.requests import Requests
from bot.services.people import People


def cause_of(record: CommandRecord, line: CommandLine) -> Cause:
    """What a command changes is changed because of it."""
    command = record.command
    return Cause(line.verb.value, command.actor.account, command.via, command.id)


class Permits:
    """What people may do; each method raises NotPermitted for who may not."""

    def __init__(self, records: Records, requests: Requests, people: People) -> None:
        self._records = records
        self._requests = requests
        self._people = people

    def act(self, record: CommandRecord, line: CommandLine, service: str, environment: str) -> None:
        """Let pass who has the verb's permission at a service and environment."""
        actor = record.command.actor
        decision = self._people.decide(actor, SPECS[line.verb].permission, service, environment)
        if not decision.is_allowed:
            self._refuse(record, line, f"{service} {environment}".strip(), decision)

    def hold_one(
        self, record: CommandRecord, line: CommandLine, roles: Sequence[str], target: Target, about: str
    ) -> None:
        """Let pass who has one of the roles, where that covers the place."""
        decision = self._people.holds(record.command.actor, roles, target.service, target.environment)
        if not decision.is_allowed:
            self._refuse(record, line, about, decision)

    def decide(self, record: CommandRecord, line: CommandLine, known: Deployment, target: Target) -> bool:
        """Approvers decide on approvals; everything else is a permission of its own on the service.

        Who asked for it may end it as long as it has not begun: true where that is what was gone by, and nothing else.
        """
        where = f"{known.key} {known.environment}"
        actor = record.command.actor
        if actor.is_outsider:  # whose id may be that of who asked for it
            self._refuse(record, line, where, Decision(False, "outsider"))
        if line.verb in (Verb.REJECT, Verb.ABORT):
            persons = self._records.store.read(lambda tx: tx.accounts.same_person(actor.account))
            is_own = known.requester.account in persons
            if is_own and line.verb is Verb.REJECT:
                return False
            if is_own and known.state.is_waiting:
                permission = SPECS[line.verb].permission
                return not self._people.decide(actor, permission, known.service, known.environment).is_allowed
        if line.verb in (Verb.APPROVE, Verb.REVOKE, Verb.REJECT):
            roles = self._requests.demanded(known, target).terms.approvers or target.approvals.approvers
            if not roles and line.verb is Verb.APPROVE:
                raise Conflict("{deployment} waits for no approval.", deployment=known.key.short)
            self.hold_one(record, line, roles, target, where)
            return False
        if line.verb is not Verb.CONFIRM:
            self.act(record, line, known.service, known.environment)
            return False
        if known.terms.is_break_glass:
            self.hold_one(record, line, target.break_glass, target, where)
        decision = self._people.decide(actor, permission_to(known.kind), known.service, known.environment)
        if not decision.is_allowed:
            self._refuse(record, line, where, decision)
        return False

    def _refuse(self, record: CommandRecord, line: CommandLine, target: str, decision: Decision) -> None:
        cause = cause_of(record, line)
        self._records.store.write(lambda tx: self._records.tell(tx, cause, target, f"refused:{decision.reason}"))
        raise NotPermitted(decision.reason, decision.needed)
