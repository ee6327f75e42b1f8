"""Everything about deployments, put together."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.services import Service
from bot.ports import Clock, Messenger, Store
from bot.ports.charts import Charts
from bot.services.deployments.answers import DeploymentAnswers, DeploymentReading
from bot.services.deployments.charting import Charting
from bot.services.deployments.desk import DeploymentDesk
from bot.services.deployments.ending import Ending
from bot.services.deployments.engine import DeploymentWorker
from bot.services.deployments.gate import Gate
from bot.services.deployments.pages import Pages
from bot.services.deployments.pipelines import BuildDeploys
from bot.services.deployments.records import Records
from bot.services.deployments.requests import Requests
from bot.services.deployments.versions import Versions
from bot.services.people import People
from bot.services.router import Router
from bot.services.signal import Signal
from bot.services.sources import Sources
from bot.services.tracker_house import TrackerHouse
from bot.services.verification import Verification


class DeploymentHouse:
    """The parts that ask for deployments, decide about them and answer for them; `worker` carries them out."""

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        store: Store,
        clock: Clock,
        router: Router,
        signal: Signal,
        sources: Sources,
        people: People,
        trackers: TrackerHouse,
    ) -> None:
        self._services = dict(services)
        self._sources = sources
        self._clock = clock
        self.records = Records(store, clock, router, signal, trackers.tidings)
        self.ending = Ending(self.records)
        versions = Versions(store, sources, trackers.trackers)
        self.requests = Requests(self.records, services, versions, self.ending, people)
        self.pages = Pages(self._services, trackers.trackers)
        self.desk = DeploymentDesk(self.records, self.requests, self.ending, people, self.pages)
        self.answers = DeploymentAnswers(store, clock, self.requests, versions, self.pages)

    def reading(
        self, verification: Verification, charts: Charts | None, messengers: Mapping[str, Messenger]
    ) -> DeploymentReading:
        """Who answers what people ask about deployments, and shows how the values of checks went on."""
        charting = Charting(self.records.store, self._clock, self._services, verification, charts, messengers)
        return DeploymentReading(self.answers, charting, self.pages)

    def worker(self, verification: Verification) -> DeploymentWorker:
        """Who carries deployments out, by every source that can both be asked and told."""
        systems = {}
        for name in self._sources.readable():
            control, reader = self._sources.control(name), self._sources.reader(name)
            if control is not None and reader is not None:
                systems[name] = BuildDeploys(control, reader)
        gate = Gate(self.records, self.requests, verification)
        return DeploymentWorker(self.records, self._services, systems, verification, self.ending, gate)
