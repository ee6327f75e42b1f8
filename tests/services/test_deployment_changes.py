"""Whatever is changed while deployments go on: each start is as the configuration of that moment asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from sqlalchemy import select

from bot.domain.audit import AuditEntry, seal
from bot.domain.builds import BuildStatus
from bot.domain.checks import CheckSpec
from bot.domain.commands import Actor, ReplyTo
from bot.domain.identity import Role
from bot.domain.services import ApprovalRule, Pipeline, RollbackRule, Service, WhenBusy
from bot.domain.windows import Freeze, Window, closed
from bot.services.presenters.deployment_words import is_asking
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.tables import audit
from tests.services.deployment_machine import ENVIRONMENTS, VERSIONS, DeploymentMachine, S
from tests.services.deployment_world import CHECK, DEPLOY_PROJECT, ROLES, SERVICE, a_service

OTHER_PROJECT = "ship-user-service"
PROGRAM = "api:train"
OTHER_CHECK = replace(CHECK, name="errors", duration_s=60.0)
PIPELINES = {
    name: Pipeline("buildbot", name, {"version": "{{version}}", "environment": "{{environment}}"})
    for name in (DEPLOY_PROJECT, OTHER_PROJECT)
}
MORE_ROLES = (
    Role("leads", frozenset({"slack:U4", "dingtalk:m2"}), frozenset({"approve"})),
    Role("trains", frozenset({PROGRAM}), frozenset({"deploy"})),
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What the configuration says, as far as it changes."""

    needed: int = 2
    approvers: tuple[str, ...] = ("release",)
    project: str = DEPLOY_PROJECT
    checks: tuple[CheckSpec, ...] = (CHECK,)
    rolls_back: bool = True
    way_back: str = ""
    after: str = ""
    confirms: bool = True
    break_glass: tuple[str, ...] = ("sre",)
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    when_busy: WhenBusy = WhenBusy.WAIT
    environments: tuple[str, ...] = ("staging", "production")

    def services(self) -> dict[str, Service]:
        """The services that it makes; none without an environment."""
        way_back = PIPELINES.get(self.way_back)
        known = a_service(
            deploy=PIPELINES[self.project],
            approvals=ApprovalRule(self.needed, self.approvers),
            checks=self.checks,
            rollback=RollbackRule(self.rolls_back, pipeline=way_back),
            after=self.after if self.after in self.environments else "",
            needs_confirmation=self.confirms,
            break_glass=self.break_glass,
            windows=self.windows,
            freezes=self.freezes,
            when_busy=self.when_busy,
        )
        targets = {name: known.targets[name] for name in self.environments}
        return {SERVICE: replace(known, targets=targets)} if targets else {}


CHANGES = st.sampled_from(
    [
        *({"needed": needed} for needed in (0, 1, 2, 3)),
        *({"approvers": roles} for roles in (("release",), ("leads",), ("release", "leads"))),
        *({"project": project} for project in PIPELINES),
        *({"checks": checks} for checks in ((), (CHECK,), (OTHER_CHECK,), (CHECK, OTHER_CHECK))),
        *({"rolls_back": is_on} for is_on in (True, False)),
        *({"way_back": project} for project in ("", OTHER_PROJECT)),
        *({"after": environment} for environment in ("", "staging")),
        *({"confirms": confirms} for confirms in (True, False)),
        *({"break_glass": roles} for roles in ((), ("sre",))),
        *({"when_busy": busy} for busy in WhenBusy),
    ]
)


class Changing(DeploymentMachine):
    """The same world while its configuration, its calendar and its programs change too."""

    def begin_with(self) -> None:
        """See `DeploymentMachine`."""
        self.setup = Setup()
        self.begun: set[int] = set()
        self.keys: dict[str, str] = {}
        self.stage.builds.projects = (SERVICE, *PIPELINES)
        self.stage.restart(self.setup.services(), (*ROLES, *MORE_ROLES))

    # --- what is changed

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def configure(self, changes: list[dict[str, object]]) -> None:
        """Somebody edits the configuration, here and there, and everything is started anew."""
        for changed in changes:
            self._set_up(**changed)

    @rule(left=st.sampled_from([*[("staging", "production")] * 3, (), ("staging",), ("production",)]))
    def take_out_or_put_back(self, left: tuple[str, ...]) -> None:
        """An environment, or the whole service, is in the configuration no more, or again."""
        self._set_up(environments=left)

    @rule(opens_h=st.sampled_from([None, None, -1, 0, 1, 3]), for_h=st.integers(1, 4))
    def set_a_window(self, opens_h: int | None, for_h: int) -> None:
        """Production may be deployed to for some hours of each day, or always."""
        if opens_h is None:
            self._set_up(windows=())
            return
        begins = self._now() + timedelta(hours=opens_h)
        ends = begins + timedelta(hours=for_h)
        times = (time(one.hour, one.minute) for one in (begins, ends))
        self._set_up(windows=(Window(frozenset(range(7)), *times),))

    @rule(days=st.sampled_from([None, None, 0, 1, 2]))
    def freeze(self, days: int | None) -> None:
        """Nothing is deployed today, or for some days; or it is over."""
        first = self._now().date()
        frozen = () if days is None else (Freeze(first, first + timedelta(days=days), "a fair"),)
        self._set_up(freezes=frozen)

    @rule(account=st.sampled_from(["slack:U1", "dingtalk:m1"]))
    def join_or_leave_the_developers(self, account: str) -> None:
        """Somebody may deploy no more, or again."""
        roles = tuple(
            replace(role, members=role.members ^ {account}) if role.name == "developers" else role
            for role in self.stage.world.house.requests.people.roles
        )
        self.stage.restart(self.setup.services(), roles)

    # --- what is asked for

    @rule(
        version=VERSIONS,
        environment=st.sampled_from(["production", "production", "staging"]),
        loudly=st.sampled_from([False, False, False, True]),
        people=st.lists(st.sampled_from(["U2", "U3", "U4", "m2"]), unique=True),
    )
    def wish(self, version: str, environment: str, loudly: bool, people: list[str]) -> None:
        """A version is asked for and confirmed, and approved by some: it goes as far as that takes it."""
        glass = " break-glass because fire" if loudly else ""
        self.stage.ask(f"deploy {SERVICE} {version} to {environment}{glass}")
        if known := self._all():
            for verb, person in (("confirm", "U1"), *(("approve", one) for one in people)):
                self.stage.ask(f"{verb} {SERVICE}#{known[-1].number}", person)

    @rule(status=st.sampled_from([BuildStatus.SUCCESS, BuildStatus.SUCCESS, BuildStatus.FAILED]))
    def all_goes_on(self, status: BuildStatus) -> None:
        """What is due begins, its run ends, and its checks look."""
        self.stage.go_on(1)
        self._end_runs(status)
        self.stage.go_on(70)

    @rule(person=st.sampled_from(["U1", "m1"]))
    def promote(self, person: str) -> None:
        """Somebody wants what the environment before has."""
        self.stage.ask(f"promote {SERVICE} to production", person)

    @rule(key=st.sampled_from("abc"), version=VERSIONS, environment=ENVIRONMENTS)
    def ask_by_program(self, key: str, version: str, environment: str) -> None:
        """A program asks, or sends what it has sent before."""
        typed = f"deploy {SERVICE} {version} to {environment}"
        is_new = self.stage.world.inbox.accept(
            typed=typed,
            dedup_key=f"{PROGRAM}:{key}",
            actor=Actor(PROGRAM, "train"),
            reply_to=ReplyTo("api", PROGRAM),
            via="api",
        )
        assert is_new == (key not in self.keys)
        self.keys.setdefault(key, f"{version} {environment}")
        self.stage.world.work()

    @rule(days=st.integers(1, 3))
    def sleep(self, days: int) -> None:
        """Days pass in which nobody does anything."""
        for _ in range(days * 4):
            self.stage.world.clock.advance(6 * 3600.0)
            self.stage.go_on()

    # --- what must hold

    @invariant()
    def what_begins_may(self) -> None:
        """By the calendar, the locks, and the number and group of those who must agree, as all that is by then."""
        for one in self._all():
            if not one.started_at or one.number in self.begun:
                continue
            self.begun.add(one.number)
            if one.rollback_of:
                continue
            target = self.setup.services()[SERVICE].targets[one.environment]
            locks = self.stage.world.store.read(lambda tx, of=one: tx.locks.over(of.service, of.environment))
            assert not [lock for lock in locks if lock.at < one.started_at], (one, locks)
            if one.terms.is_break_glass:
                continue
            at = datetime.fromtimestamp(one.started_at, UTC)
            assert closed(target.windows, target.freezes, at) is None, one
            assert len(one.approvals) >= target.approvals.needed, one
            for approval in one.approvals if target.approvals.needed else ():
                self._must_be_one_of(approval.account, target.approvals.approvers)

    @invariant()
    def a_program_is_answered_once(self) -> None:
        """However often it sends the same request."""
        asked = [f"{one.version.name} {one.environment}" for one in self._all() if one.requester.account == PROGRAM]
        assert len(asked) <= len(self.keys)

    @invariant()
    def the_trail_tells_how_each_stands(self) -> None:
        """Its last entry about a deployment is the state that the deployment is in."""
        last = {}
        for _, _, target, outcome in self.stage.world.trail():
            if target.startswith("deployment:") and not outcome.startswith(("refused", "conflict")):
                last[target.partition(" ")[0]] = outcome.partition(":")[0]
        assert last == {str(one.key): one.state.value for one in self._all()}

    def settle(self) -> None:
        """All comes to an end by itself or by what its card asks people for; the trail is one whole chain."""
        self._heal()
        for one in self._all():
            if not one.state.is_ended and one.state is not S.ROLLING_BACK:  # of that one its rollback asks
                assert is_asking(one), one
                self.stage.ask(f"abort {SERVICE}#{one.number}")
        self.stage.go_on(60)
        for one in self._all():
            assert one.state.is_ended, one
        self._assert_chained()

    def _heal(self) -> None:
        """As ever, with people who may; no more is said of the configuration, and the calendar lets go by itself."""
        roles = (*ROLES, *MORE_ROLES)
        self.stage.restart(self.setup.services(), roles)
        for _ in range(4):  # a freeze may last for three days
            super()._heal()
            if all(one.state.is_ended or is_asking(one) or one.state is S.ROLLING_BACK for one in self._all()):
                return

    def _set_up(self, **changed: object) -> None:
        self.setup = replace(self.setup, **changed)  # type: ignore[arg-type]  # fields by name
        roles = self.stage.world.house.requests.people.roles
        self.stage.restart(self.setup.services(), roles)

    def _now(self) -> datetime:
        return self.stage.world.clock.now()

    def _must_be_one_of(self, account: str, approvers: tuple[str, ...]) -> None:
        roles = self.stage.world.house.requests.people.roles
        members = frozenset().union(*(role.members for role in roles if role.name in approvers))
        assert members & self.stage.world.store.read(lambda tx: tx.accounts.joined(account)), (account, approvers)

    def _assert_chained(self) -> None:
        world = self.stage.world
        while Upkeep(world.store, world.clock, Signal()).seal_audit():
            pass
        previous = ""
        with world.database.connect() as connection:
            for row in connection.execute(select(audit).order_by(audit.c.seq)):
                entry = AuditEntry(row.at, row.actor, row.verb, row.target, row.outcome, row.detail, row.command_id)
                assert (row.previous_hash, row.hash) == (previous, seal(entry, row.seq, previous)), row
                previous = row.hash


TestChanging = Changing.TestCase
TestChanging.settings = settings(max_examples=4, stateful_step_count=30, deadline=None)
