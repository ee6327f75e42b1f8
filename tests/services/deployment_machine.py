"""People, a CI system and checks that do as they like, and what holds of deployments whatever they do."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.domain.builds import BuildStatus
from bot.domain.checks import Verdict
from bot.domain.deployment_effects import BY_ITSELF, has_changed
from bot.domain.deployments import ACTIVE, FAILED_STATES, MOVES, Deployment, DeploymentState, Version
from bot.domain.services import WhenBusy
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import fresh_store

S = DeploymentState
PEOPLE = st.sampled_from(["U1", "U2", "U3", "m1", "m2"])
NUMBERS = st.integers(1, 6)
VERSIONS = st.sampled_from(["v1", "v2", "v3", "v9"])
ENVIRONMENTS = st.sampled_from(["staging", "production"])
OTHER_PREVIEW = st.sampled_from(["", "confirm", "abort", "reject"])
PLACES_BACK = st.sampled_from(["staging", "production", "production"])
AWAY = st.sampled_from(["", "", "", "", "find_run", "follow", "run", "list_builds"])
LONG_S = 1000.0


class DeploymentMachine(RuleBasedStateMachine):
    """People, a CI system and checks that do as they like."""

    @initialize(when_busy=st.sampled_from(WhenBusy), is_there=st.booleans())
    def begin(self, when_busy: WhenBusy, is_there: bool) -> None:
        """One service with three good versions; two of them were in production, where they are there already."""
        self.ends = ExitStack()
        store, database = self.ends.enter_context(fresh_store())
        self.stage: Stage = a_stage(store, database, when_busy=when_busy, break_glass=("sre",))
        self.judged: set[int] = set()
        self.led_back: set[int] = set()
        self.shown: dict[int, Version | None] = {}
        for version in ("v1", "v2", "v3"):
            self.stage.build(version)
        self.begin_with()
        for version in ("v1", "v2") if is_there else ():
            self.stage.ask(f"deploy {SERVICE} {version} to production break-glass because it is new")
            self.stage.ask(f"confirm {SERVICE}#{self._all()[-1].number}")
            self.stage.go_on(1)
            self._end_runs(BuildStatus.SUCCESS)
            self.stage.go_on(40)

    def begin_with(self) -> None:
        """What else there is in the beginning."""

    def teardown(self) -> None:
        """Everything comes to an end once all is well again."""
        if not hasattr(self, "stage"):
            return
        try:
            self.settle()
        finally:
            self.ends.close()

    def settle(self) -> None:
        """Let everything end by itself."""
        self._heal()
        for deployment in self._all():
            assert deployment.state.is_ended, deployment

    @rule(person=PEOPLE, version=VERSIONS, environment=ENVIRONMENTS, loudly=st.booleans())
    def deploy(self, person: str, version: str, environment: str, loudly: bool) -> None:
        """Somebody asks for a deployment."""
        glass = " break-glass because fire" if loudly else ""
        self.stage.ask(f"deploy {SERVICE} {version} to {environment}{glass}", person)

    @rule(version=VERSIONS)
    def deploy_in_good_order(self, version: str) -> None:
        """One is asked for, confirmed and approved."""
        self.stage.ask(f"deploy {SERVICE} {version} to production")
        if known := self._all():
            for verb, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "m2")):
                self.stage.ask(f"{verb} {SERVICE}#{known[-1].number}", person)
        self.stage.go_on()

    @rule(person=PEOPLE, number=NUMBERS, verb=st.sampled_from(["confirm", "approve", "approve", "reject", "revoke"]))
    def decide(self, person: str, number: int, verb: str) -> None:
        """Somebody decides about one, there or not."""
        self.stage.ask(f"{verb} {SERVICE}#{number}", person)

    @rule(person=PEOPLE, number=NUMBERS, verb=st.sampled_from(["abort", "keep"]))
    def interfere(self, person: str, number: int, verb: str) -> None:
        """Somebody stops one, or keeps it."""
        self.stage.ask(f"{verb} {SERVICE}#{number}", person)

    @rule(environment=PLACES_BACK, to=st.sampled_from(["", "", " to v1", " to v2", " to v3"]), other=OTHER_PREVIEW)
    def roll_back(self, environment: str, to: str, other: str) -> None:
        """Somebody wants the version before, or another one; of two previews one is confirmed, the other one ended."""
        for _ in range(2 if other else 1):
            self.stage.ask(f"rollback {SERVICE} in {environment}{to}")
        if newest := self._all()[-2:]:
            self.stage.ask(f"confirm {SERVICE}#{newest[-1].number}")
        if other and newest and newest[0].rollback_of and newest[0].state is S.REQUESTED:
            self.stage.ask(f"{other} {SERVICE}#{newest[0].number}")

    @rule(account=st.sampled_from(["slack:U2", "dingtalk:m2"]))
    def join_or_leave_the_group(self, account: str) -> None:
        """Somebody may approve no more, or again."""
        people = self.stage.world.house.requests.people
        people.roles = tuple(
            replace(role, members=role.members ^ {account}) if role.name == "release" else role for role in people.roles
        )

    @rule(verb=st.sampled_from(["lock", "unlock", "unlock"]), environment=ENVIRONMENTS)
    def lock(self, verb: str, environment: str) -> None:
        """A place is locked or unlocked."""
        self.stage.ask(f"{verb} {SERVICE} in {environment} because so")

    @rule(version=VERSIONS, verdict=st.sampled_from(Verdict))
    def turn(self, version: str, verdict: Verdict) -> None:
        """A version begins to do well, or badly."""
        self.stage.verification.verdicts[f"health@{version}"] = verdict

    @rule(away=AWAY, loses=st.sampled_from([False, False, True]))
    def trouble(self, away: str, loses: bool) -> None:
        """The CI system is away in part, or its answers are lost."""
        self.stage.builds.away = {away} if away else set()
        self.stage.builds.loses_answers = loses

    @rule(seconds=st.sampled_from([0.0, 5.0, 40.0, 700.0, 8000.0]))
    def go_on(self, seconds: float) -> None:
        """Time passes, and steps are taken: all of them, or the last ones only where it is long."""
        self.stage.world.clock.advance(max(0.0, seconds - LONG_S))
        self.stage.go_on(min(seconds, LONG_S))

    @rule(status=st.sampled_from([BuildStatus.SUCCESS, BuildStatus.SUCCESS, BuildStatus.FAILED]))
    def runs_end(self, status: BuildStatus) -> None:
        """Every run ends that is under way."""
        self._end_runs(status)
        self.stage.go_on(5)

    @precondition(lambda self: self.stage.world.store.read(lambda tx: tx.deployments.next_due_at()) is not None)
    @rule()
    def die(self) -> None:
        """A worker takes what is due and dies with it in hand."""
        self.stage.world.deployments.claim(4)
        self.stage.world.clock.advance(61)

    @invariant()
    def one_at_a_time(self) -> None:
        """No environment is changed by two at once."""
        lines = [(one.service, one.environment) for one in self._all() if one.state in ACTIVE]
        assert len(lines) == len(set(lines))

    @invariant()
    def nothing_starts_without_its_approvals(self) -> None:
        """Whoever agreed is not who asked, nobody counts twice, and there are enough of them."""
        for one in self._all():
            accounts = {approval.account for approval in one.approvals}
            assert one.requester.account not in accounts
            assert len(accounts) == len(one.approvals)
            if one.started_at:
                assert one.terms.is_break_glass or len(accounts) >= one.terms.approvals

    @invariant()
    def ways_back_lead_to_what_is_good(self) -> None:
        """When one is asked for, what its version came to last in that environment is a success."""
        known = self._all()
        for one in known:
            if not one.rollback_of or one.number in self.led_back:
                continue
            self.led_back.add(one.number)
            told = [
                other
                for other in known
                if (other.environment, other.version) == (one.environment, one.version)
                and other.number != one.number
                and (other.run and other.run.request)
                and other.state in FAILED_STATES | {S.SUCCEEDED}
                and not (other.rollback_of and other.state is S.FAILED)
            ]
            last = max(told, key=lambda other: (other.started_at, other.number))
            assert last.state is S.SUCCEEDED, (one, last)

    @invariant()
    def what_is_undone_hangs_on_its_way_back(self) -> None:
        """It is being undone exactly as long as the one way back that was begun for it goes on, and is gone with it."""
        known = {one.number: one for one in self._all()}
        for one in known.values():
            if one.state is S.ROLLING_BACK:
                assert not known[one.rolled_back_by].state.is_ended, (one, known[one.rolled_back_by])
        for back in known.values():
            if not back.rollback_of or back.state not in ACTIVE | {S.QUEUED, S.SUCCEEDED}:
                continue
            undone, becomes = known[back.rollback_of], S.ROLLED_BACK if back.state is S.SUCCEEDED else S.ROLLING_BACK
            is_cut_short = undone.state is S.CANCELLED and back.state is not S.SUCCEEDED
            assert is_cut_short or undone.rolled_back_by == back.number, (undone, back)
            assert undone.state in (becomes, S.CANCELLED), (undone, back)

    @invariant()
    def ways_back_lock(self) -> None:
        """Each once: at its start where it began by itself, else at its end, if it has changed anything."""
        back = [one for one in self._all() if one.rollback_of]
        over = [one for one in back if not (one.state.is_waiting or one.state.is_active) and has_changed(one)]
        locking = [one for one in back if one.origin == BY_ITSELF or one in over]
        told = [target for actor, verb, target, _ in self.stage.world.trail() if (actor, verb) == ("shipmate", "lock")]
        assert sorted(told) == sorted(f"{one.service}/{one.environment}" for one in locking)

    @invariant()
    def nothing_newer_is_undone_unseen(self) -> None:
        """What begins in place of another version than the one that was shown was not built before that."""
        for one in self._all():
            if one.state.is_waiting:
                self.shown[one.number] = one.previous
            elif one.started_at and one.number in self.shown and not one.rollback_of:
                shown = self.shown.pop(one.number)
                if one.previous is not None and one.previous != shown:
                    there, new = (int(version.build.rpartition("#")[2]) for version in (one.previous, one.version))
                    assert there <= new, one

    @invariant()
    def who_approved_may_when_it_begins(self) -> None:
        """At that moment they are as many persons, none of them who asked, and each has a role for it."""
        roles = self.stage.world.house.requests.people.roles
        members = frozenset[str]().union(*(role.members for role in roles if "approve" in role.can))
        for one in self._all():
            if not one.started_at or one.number in self.judged:
                continue
            self.judged.add(one.number)  # nobody is joined, parted or taken out in the step that began it
            taken = self._same(one.requester.account, one.requested_at)
            for approval in one.approvals:
                persons = self._same(approval.account, one.requested_at)
                assert not persons & taken, one
                taken |= persons
                assert members & self.stage.world.store.read(lambda tx, of=approval.account: tx.accounts.joined(of)), (
                    one
                )

    @invariant()
    def every_run_is_one_deployments(self) -> None:
        """No deployment is run twice, and nothing runs that no deployment asked for."""
        asked = [request.correlation for request in self.stage.builds.requests]
        assert len(asked) == len(set(asked))
        numbers = {one.number for one in self._all() if one.started_at}
        assert {int(correlation.split("-")[1]) for correlation in asked} <= numbers

    @invariant()
    def every_move_is_legal(self) -> None:
        """The trail shows no way that the machine does not know."""
        states: dict[str, list[DeploymentState]] = {}
        for _, _, target, outcome in self.stage.world.trail():
            if target.startswith("deployment:") and not outcome.startswith(("refused", "conflict")):
                states.setdefault(target.partition(" ")[0], []).append(DeploymentState(outcome.partition(":")[0]))
        for path in states.values():
            assert all(before is after or after in MOVES[before] for before, after in pairwise(path)), path

    def _same(self, account: str, since: float) -> frozenset[str]:
        return self.stage.world.store.read(lambda tx: tx.accounts.same_person(account, since))

    def _all(self) -> list[Deployment]:
        found = self.stage.world.store.read(lambda tx: tx.deployments.newest(None, None, None, 1000))
        return list(reversed(found))

    def _end_runs(self, status: BuildStatus) -> None:
        for key, run in list(self.stage.builds.runs.items()):
            if not run.is_finished:
                self.stage.builds.finish(key, status)

    def _heal(self) -> None:
        """Everything is back, every lock is gone, and nobody asks for more: a week and a day."""
        self.stage.builds.away, self.stage.builds.loses_answers = set(), False
        for environment in ("staging", "production", "staging", "production"):  # people's locks, then rollbacks'
            self.stage.ask(f"unlock {SERVICE} in {environment}")
        for _ in range(40):
            self._end_runs(BuildStatus.SUCCESS)
            self.stage.go_on(40)
            if all(one.state.is_ended for one in self._all()):
                return
            self.stage.ask(f"unlock {SERVICE} in production")
            self.stage.ask(f"unlock {SERVICE} in staging")
            self.stage.go_on(3600)
