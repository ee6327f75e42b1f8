"""The services wired to fakes over a real database: what the composition root does, with hands on everything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, select

from bot.domain.cards import Card, Content
from bot.domain.commands import Actor, ReplyTo
from bot.domain.events import Event
from bot.domain.identity import Role
from bot.domain.places import DestinationSettings, Place
from bot.domain.routing import Match, Route
from bot.domain.services import Service
from bot.ports import CardRecord, CommandRecord, Transaction
from bot.ports.charts import Charts
from bot.ports.metrics import DeploymentReports
from bot.services.acting import Acting
from bot.services.closing import Speech, Voices
from bot.services.command_inbox import CommandInbox
from bot.services.commands import CommandWorker
from bot.services.contents import Contents
from bot.services.dead_letters import DeadLetters
from bot.services.delivery import Deliverer
from bot.services.deployments.engine import DeploymentWorker
from bot.services.deployments.house import DeploymentHouse
from bot.services.dispatcher import Worker, carry_out
from bot.services.ingest import Ingest, Outcome
from bot.services.jobs import JobWorker
from bot.services.people import People
from bot.services.planning import Delivery, Resolution
from bot.services.reading import Reading
from bot.services.reporting import Reporting
from bot.services.router import Router
from bot.services.settling import Settling
from bot.services.signal import Signal
from bot.services.sources import SourceAccess, Sources
from bot.services.tracker_house import TrackerHouse
from bot.services.trackers import TrackerAccess, Trackers
from bot.services.verification import Verification
from bot.storage.tables import attempts, audit, commands
from tests.build_fakes import FakeBuildSystem
from tests.fakes import FakeClock, FakeDirectory, FakeIds, FakeMessenger, FakeResponder
from tests.stores import SqlStore, key_of

CI = "slack:T/ci"
DEV = "slack:T/dev"
ROLES = (
    Role("devs", frozenset({"slack:U1", "slack:U2", "dingtalk:m1"}), frozenset({"retry", "cancel", "run"})),
    Role("leads", frozenset({"lead@example.com"}), frozenset({"*"}), projects=("user-*",)),
)


@dataclass(slots=True)
class World:
    """Everything of one test. `is_resolved` gives destinations their places before anything else happens.

    `names_no_projects` leaves it to the CI system which projects it has.
    """

    store: SqlStore
    database: Engine
    routes: Sequence[Route] = (Route("routes[0]", Match(), ("ci",)),)
    destinations: Mapping[str, DestinationSettings] = field(
        default_factory=lambda: {
            "ci": DestinationSettings("ci", "slack:#ci"),
            "dev": DestinationSettings("dev", "slack:#dev"),
        }
    )
    is_resolved: bool = True
    names_no_projects: bool = False
    readable: frozenset[str] = frozenset()
    admin: str = ""
    known_trackers: Mapping[str, TrackerAccess] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    ids: FakeIds = field(default_factory=FakeIds)
    builds: FakeBuildSystem = field(default_factory=FakeBuildSystem)
    responder: FakeResponder = field(default_factory=FakeResponder)
    directory: FakeDirectory = field(default_factory=FakeDirectory)
    other_directory: FakeDirectory = field(default_factory=FakeDirectory)
    messenger: FakeMessenger = field(init=False)
    settling: Settling = field(init=False)
    ingest: Ingest = field(init=False)
    sources: Sources = field(init=False)
    deliverer: Deliverer = field(init=False)
    inbox: CommandInbox = field(init=False)
    worker: CommandWorker = field(init=False)
    jobs: JobWorker = field(init=False)
    services: Mapping[str, Service] = field(default_factory=dict)
    roles: Sequence[Role] = ROLES
    verification: Verification = field(default_factory=Verification)
    charts: Charts | None = None
    reports: Mapping[str, DeploymentReports] = field(default_factory=dict)
    house: DeploymentHouse = field(init=False)
    trackers: TrackerHouse = field(init=False)
    deployments: DeploymentWorker = field(init=False)
    _presses: int = 0

    def __post_init__(self) -> None:
        ids, signal = self.ids, Signal()
        self.messenger = FakeMessenger(self.clock)
        self.settling = Settling(self.store)
        router = Router(self.routes, self.destinations, self.admin)
        self.ingest = Ingest(self.store, self.clock, router, signal, self.readable)
        addresses = frozenset(settings.address for settings in self.destinations.values())
        if self.is_resolved:
            for address in addresses:
                place = self.messenger.resolve(address)
                self.store.write(lambda tx, address=address, place=place: tx.places.adopt(address, place))
        else:
            self.store.write(lambda tx: tx.places.ensure([Place(address, address) for address in addresses]))
        self.trackers = TrackerHouse(
            Trackers(self.known_trackers),
            store=self.settling,
            clock=self.clock,
            signal=signal,
            reporting=Reporting(self.reports, self.store, self.clock),
        )
        letters = DeadLetters(self.destinations.get(self.admin))
        self.deliverer = Deliverer(
            self.settling,
            self.clock,
            ids,
            {"slack": self.messenger},
            addresses,
            dead_letters=letters,
            contents=Contents(
                self.trackers.trackers.links_in,
                self.charts,
                self.names_of,
                lambda one: self.house.pages.leads(one),
                lambda build: self.sources.acts_on(build),
            ),
        )
        sources = Sources(
            {
                "buildbot": SourceAccess(
                    () if self.names_no_projects else self.builds.projects,
                    self.builds,
                    self.builds,
                    (lambda name: "/" not in name) if self.names_no_projects else None,
                    self.builds,
                ),
                "generic": SourceAccess(("billing",)),
            },
            self.services.values(),
        )
        self.sources = sources
        self.jobs = JobWorker(self.settling, self.clock, sources, self.ingest, letters)
        people = People(self.roles, {"slack": self.directory, "dingtalk": self.other_directory}, self.store)
        self.inbox = CommandInbox(self.store, self.clock, ids, signal)
        self.house = DeploymentHouse(
            self.services,
            store=self.settling,
            clock=self.clock,
            router=router,
            signal=signal,
            sources=sources,
            people=people,
            trackers=self.trackers,
        )
        self.deployments = self.house.worker(self.verification)
        reading = self.house.reading(self.verification, self.charts, {"slack": self.messenger})
        self.worker = CommandWorker(
            store=self.settling,
            clock=self.clock,
            router=router,
            people=people,
            reading=Reading(
                self.store,
                self.clock,
                router,
                sources,
                people,
                self.ingest,
                deployments=reading,
                trackers=self.trackers.trackers,
            ),
            acting=Acting(
                self.settling, self.clock, sources, people, self.ingest, signal, desk=self.house.desk, ids=ids
            ),
            voices=Voices(
                {"slack": self.responder, "dingtalk": self.responder},
                {"slack": Speech("/ship", "en"), "dingtalk": Speech("@Shipmate", "zh-CN")},
                letters,
            ),
        )

    def names_of(self, accounts: Collection[str]) -> Mapping[str, str]:
        """The names that are known."""
        return self.store.read(lambda tx: tx.accounts.names(accounts))

    # --- events and cards

    def accept(self, *events: Event) -> list[Outcome]:
        """Take events as a door does."""
        return self.ingest.accept(events)

    def deliver(self, seconds: float = 0.0) -> None:
        """Carry out what is due, until nothing is due within the next `seconds`."""
        self._run_out(self.deliverer, lambda tx: tx.deliveries.next_ready_at(), seconds)

    def claim(self) -> list[Delivery | Resolution]:
        """Take what is due, and leave it in hand."""
        return self.deliverer.claim(4)

    def card(self, number: int | str = 12, place: str = CI, slot: str = "card") -> CardRecord:
        """One slot of a build at a place."""
        found = self.store.read(lambda tx: tx.cards.of_subject(str(key_of(number))))
        return next(card for card in found if (card.destination, card.slot) == (place, slot))

    def slots(self, number: int | str = 12) -> set[tuple[str, str]]:
        """Where a build's slots are open."""
        found = self.store.read(lambda tx: tx.cards.of_subject(str(key_of(number))))
        return {(card.destination, card.slot) for card in found}

    def operations(self, place: str = CI) -> list[str]:
        """The calls made to a place: `post` and `update`."""
        return [call.operation.value for call in self.messenger.calls if call.place == place]

    def attempt_outcomes(self) -> list[str]:
        """What the attempts came to, in order."""
        with self.database.connect() as connection:
            return list(connection.scalars(select(attempts.c.outcome).order_by(attempts.c.id)))

    # --- jobs

    def enrich(self, seconds: float = 0.0) -> None:
        """Carry out the jobs that are due, and those that become due within the next `seconds`."""
        self._run_out(self.jobs, lambda tx: tx.jobs.next_due_at(), seconds)

    def _run_out(self, worker: Worker, next_due_at: Callable[[Transaction], float | None], seconds: float) -> None:
        """Let a worker carry out what is due, the clock going on from one piece to the next, for so many seconds."""
        end = self.clock.now().timestamp() + seconds
        for _ in range(3000):
            due = self.store.read(next_due_at)
            now = self.clock.now().timestamp()
            if due is None or due > end:
                self.clock.advance(end - now)
                return
            if due > now:
                self.clock.advance(due - now + 1e-5)  # a clock counts whole microseconds
            self.builds.now = max(self.builds.now, self.clock.now())  # its runs are looked for by when they were asked
            for work in worker.claim(4):
                carry_out(worker, work)
        raise AssertionError("work never comes to rest")

    def carry(self, seconds: float = 0.0) -> None:
        """Take the deployments further that are due, and those that become due within the next `seconds`."""
        self._run_out(self.deployments, lambda tx: tx.deployments.next_due_at(), seconds)

    # --- commands

    def ask(
        self,
        typed: str,
        person: str = "U1",
        *,
        platform: str = "slack",
        key: str | None = None,
        is_outsider: bool = False,
    ) -> bool:
        """Take a command as a door does; each is a press of its own unless `key` says which."""
        self._presses += 1
        actor = Actor(f"{platform}:{person}", person, is_outsider=is_outsider)
        reply_to = ReplyTo(platform, CI if platform == "slack" else "dingtalk:corp/cid")
        dedup_key = key or f"press:{self._presses}"
        return self.inbox.accept(typed=typed, dedup_key=dedup_key, actor=actor, reply_to=reply_to, via="press")

    def work(self, seconds: float = 0.0) -> None:
        """Carry out the commands that are due, and those that become due within the next `seconds`."""
        end = self.clock.now().timestamp() + seconds
        for _ in range(3000):
            due = self.store.read(lambda tx: tx.commands.next_due_at())
            now = self.clock.now().timestamp()
            if due is None or due > end:
                self.clock.advance(end - now)
                return
            if due > now:
                self.clock.advance(due - now + 1e-5)  # a clock counts whole microseconds
            self.work_once()
        raise AssertionError("commands never come to rest")

    def work_once(self) -> None:
        """Carry out one step of the commands that are due."""
        for record in self.take():
            carry_out(self.worker, record)

    def take(self) -> list[CommandRecord]:
        """Take the commands that are due, and leave them in hand."""
        return self.worker.claim(4)

    @property
    def said(self) -> list[str]:
        """What was answered, in order."""
        return self.responder.said

    @property
    def answer(self) -> Content:
        """The last answer."""
        return self.responder.answers[-1][1]

    def card_answer(self) -> Card:
        """The last answer, which is a card."""
        assert isinstance(self.answer, Card)
        return self.answer

    def trail(self) -> list[tuple[str, str, str, str]]:
        """The audit trail: actor, verb, target, outcome."""
        columns = (audit.c.actor, audit.c.verb, audit.c.target, audit.c.outcome)
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(audit.c.seq))]

    def states(self) -> list[str]:
        """How far the commands have come."""
        with self.database.connect() as connection:
            return list(connection.scalars(select(commands.c.state).order_by(commands.c.id)))

    def open_commands(self) -> int:
        """How many commands are still to be done."""
        with self.database.connect() as connection:
            return len(list(connection.scalars(select(commands.c.id).where(commands.c.is_open))))
