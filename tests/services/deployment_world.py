"""A world in which something is deployed: a service with two environments, people who may, and checks that obey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card
from bot.domain.checks import CheckKind, CheckSpec, Measurement, Verdict
from bot.domain.deployments import Deployment, DeploymentState
from bot.domain.identity import Role
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Route
from bot.domain.services import ApprovalRule, Pipeline, Service, Target
from bot.ports.charts import Charts
from bot.ports.metrics import DeploymentReports
from bot.services.trackers import TrackerAccess
from bot.services.verification import CheckContext, Verification
from tests.build_fakes import FakeBuildSystem
from tests.fakes import FakeClock
from tests.services.world import World
from tests.stores import SqlStore

SERVICE = "user-service"
PAGE = "https://{{environment}}.example.com/{{service}}?version={{version}}"
DEPLOY_PROJECT = "deploy-user-service"
CHECK = CheckSpec("health", CheckKind.HTTP, duration_s=30.0, interval_s=10.0)
ROLES = (
    Role("developers", frozenset({"slack:U1", "dingtalk:m1"}), frozenset({"deploy", "rollback", "lock", "unlock"})),
    Role("release", frozenset({"slack:U2", "slack:U3", "dingtalk:m2"}), frozenset({"approve"})),
    Role("sre", frozenset({"slack:U1"}), frozenset({"ack"})),
)


class FakeVerification(Verification):
    """Answers each check with the verdict that a test wants; passed where it wants none."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: dict[str, Verdict] = {}
        self.problems: list[str] = []
        self.measured: list[tuple[str, str]] = []
        self.contexts: list[CheckContext] = []

    def measure(self, spec: CheckSpec, context: CheckContext, now: float) -> Measurement:
        """See `Verification`."""
        self.measured.append((spec.name, context.version))
        self.contexts.append(context)
        verdict = self.verdicts.get(f"{spec.name}@{context.version}", self.verdicts.get(spec.name, Verdict.PASSED))
        return Measurement(now, verdict, 200.0 if verdict is Verdict.PASSED else 500.0, detail=f"said {verdict.value}")

    def probe(self, specs: Sequence[CheckSpec], context: CheckContext) -> Sequence[str]:
        """See `Verification`."""
        return self.problems


def a_service(**changed: object) -> Service:
    """`user-service`, deployed by a project of the same CI system; `changed` are fields of its production."""
    deploy = Pipeline("buildbot", DEPLOY_PROJECT, {"version": "{{version}}", "environment": "{{environment}}"})
    staging = Target(SERVICE, "staging", deploy, needs_confirmation=False)
    production = replace(
        Target(SERVICE, "production", deploy, approvals=ApprovalRule(2, ("release",)), checks=(CHECK,)),
        **changed,  # type: ignore[arg-type]  # fields of a Target, by name
    )
    return Service(SERVICE, {"staging": staging, "production": production}, "buildbot", SERVICE, url=PAGE)


@dataclass(slots=True)
class Stage:
    """A world with builds to deploy, and hands on what deploys them."""

    world: World
    verification: FakeVerification
    versions: dict[str, str] = field(default_factory=dict)

    def restart(self, services: Mapping[str, Service], roles: Sequence[Role] | None = None) -> None:
        """Start all processes anew, with other services and roles in the configuration."""
        self.world = replace(self.world, services=services, roles=self.world.roles if roles is None else roles)

    @property
    def builds(self) -> FakeBuildSystem:
        """The CI system."""
        return self.world.builds

    def build(self, version: str, status: BuildStatus = BuildStatus.SUCCESS, title: str = "A change") -> None:
        """A finished build of the service, whose branch is the version's name."""
        key = self.builds.start(SERVICE)
        run = self.builds.runs[key]
        commit = f"{len(self.builds.runs):07x}" + version.encode().hex()[:12].ljust(12, "0")
        run.facts = replace(run.facts, branch=version, commit=commit, commit_title=title)
        self.builds.finish(key, status)

    def build_more(self, version: str, count: int) -> None:
        """So many more finished builds of a version, each of a commit of its own."""
        for _ in range(count):
            self.build(version)

    def hear(self) -> None:
        """Tell the bot of every build of the service."""
        keys = [key for key in self.builds.runs if key.project == SERVICE]
        self.world.accept(*(self.builds.fetch(key, with_log=True) for key in keys))

    def build_once(self, version: str) -> None:
        """A finished build of a version that has none yet: built of another commit its name would move on."""
        if version not in [run.facts.branch for run in self.builds.runs.values()]:
            self.build(version)

    def ask(self, typed: str, person: str = "U1", **more: object) -> str:
        """Type a line as a person; the answer's text."""
        platform = "dingtalk" if person.startswith("m") else "slack"
        self.world.ask(typed, person, platform=platform, **more)  # type: ignore[arg-type]  # a key
        self.world.work()
        return self.told(f"{platform}:{person}")[-1]

    def told(self, account: str) -> list[str]:
        """What an account was answered, in order."""
        answers = zip(self.world.responder.answers, self.world.said, strict=True)
        return [said for (_, _, actor), said in answers if actor.account == account]

    def go_on(self, seconds: float = 0.0) -> None:
        """Let deployments take their steps."""
        self.builds.now = max(self.builds.now, self.world.clock.now())
        self.world.carry(seconds)

    def run_ends(self, status: BuildStatus = BuildStatus.SUCCESS) -> None:
        """Let the newest run of the deploying project end, and look at it."""
        key = max((key for key in self.builds.runs if key.project == DEPLOY_PROJECT), key=lambda key: int(key.number))
        self.builds.finish(key, status)
        self.go_on(5)

    def deployment(self, number: int = 1) -> Deployment:
        """A deployment as it stands."""
        found = self.world.store.read(lambda tx: tx.deployments.get(number))
        assert found is not None
        return found

    def state(self, number: int = 1) -> DeploymentState:
        """How far it has come."""
        return self.deployment(number).state

    def runs(self) -> list[Mapping[str, str]]:
        """What the deploying project was asked to run, in order."""
        return [request.parameters for request in self.builds.requests if request.project == DEPLOY_PROJECT]

    def good(self, version: str, environment: str = "production") -> None:
        """Deploy a version, with all that belongs to it."""
        self.build_once(version)
        self.ask(f"deploy {SERVICE} {version} to {environment}")
        number = self.newest()
        if environment == "production":
            self.ask(f"confirm {SERVICE}#{number}")
            self.ask(f"approve {SERVICE}#{number}", "U2")
            self.ask(f"approve {SERVICE}#{number}", "U3")
        self.go_on(1)
        self.run_ends()
        self.go_on(60)
        assert self.state(number) is DeploymentState.SUCCEEDED, self.deployment(number)

    def carried_out(self, version: str, *, is_run_ended: bool = True) -> int:
        """Bring a version to production as far as the end of its run, and look at what its checks see; its number.

        As far as its run that goes on, where that is not to have ended.
        """
        self.build_once(version)
        self.ask(f"deploy {SERVICE} {version} to production")
        number = self.newest()
        for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
            self.ask(f"{typed} {SERVICE}#{number}", person)
        self.go_on(1)
        if is_run_ended:
            self.run_ends()
        return number

    def went_back(self, to: str = "") -> None:
        """Roll back by hand, and let it succeed; what it locked stays so."""
        self.ask(f"rollback {SERVICE} in production{to}")
        number = self.newest()
        self.ask(f"confirm {SERVICE}#{number}")
        self.go_on(1)
        self.run_ends()
        self.go_on(60)
        assert self.state(number) is DeploymentState.SUCCEEDED

    def approved(self, *people: str) -> None:
        """Bring v1 to production as far as its approvals by `people`; what kept it from beginning is gone now."""
        self.build("v1")
        self.ask(f"lock {SERVICE} in production because so")
        self.ask(f"deploy {SERVICE} v1 to production")
        self.ask(f"confirm {SERVICE}#1")
        for person in people:
            self.ask(f"approve {SERVICE}#1", person)
        self.go_on()
        assert (self.state(), self.deployment().outcome) == (DeploymentState.QUEUED, "locked")
        self.ask(f"unlock {SERVICE} in production")

    def newest(self) -> int:
        """The newest number."""
        return self.world.store.read(lambda tx: tx.deployments.newest(None, None, None, 1))[0].number

    def card(self, number: int = 1, place: str = "slack:T/ci") -> Card:
        """What people see of a deployment at a place."""
        self.world.deliver(5)
        key = f"deployment:shipmate/{SERVICE}#{number}"
        shown = [
            call.content
            for call in self.world.messenger.calls
            if call.place == place and isinstance(call.content, Card) and call.content.subject == key
        ]
        assert shown, [call.title for call in self.world.messenger.calls]
        return shown[-1]


def a_stage(
    store: SqlStore,
    database: Engine,
    clock: FakeClock | None = None,
    *,
    known_trackers: Mapping[str, TrackerAccess] | None = None,
    charts: Charts | None = None,
    reports: Mapping[str, DeploymentReports] | None = None,
    routes: Sequence[Route] = (Route("routes[0]", Match(kind=("deployment",)), ("ci",)),),
    admin: str = "",
    **changed: object,
) -> Stage:
    """A world over an empty database with one route for deployments."""
    verification, service = FakeVerification(), a_service(**changed)
    builds = FakeBuildSystem()
    builds.projects, builds.parameters = (SERVICE, DEPLOY_PROJECT), ("version", "environment")
    world = World(
        store,
        database,
        routes=routes,
        destinations={name: DestinationSettings(name, f"slack:#{name}") for name in ("ci", *filter(None, [admin]))},
        admin=admin,
        clock=clock or FakeClock(),
        builds=builds,
        services={SERVICE: service},
        verification=verification,
        roles=ROLES,
        known_trackers=known_trackers or {},
        charts=charts,
        reports=reports or {},
    )
    return Stage(world, verification)
