"""A tracker over HTTP, the bot and the CI system, on one clock: for tests that go the whole way from issue to issue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Engine

from bot.domain.triggers import Trigger
from bot.services.deployments.triggered import TriggeredDeployments
from bot.services.dispatcher import carry_out
from bot.services.trackers import Told, TrackerAccess
from bot.services.tracking import Taken
from integrations.spec import IssueTracker
from tests.fakes import FakeClock
from tests.services.deployment_world import Stage, a_stage
from tests.stores import SqlStore


class Served(Protocol):
    """A tracker's stand-in on loopback, by the time it lives in."""

    now: datetime


@dataclass
class Office:
    """What is told comes in at the tracker's own door; what is to be told goes out by its own client.

    `proven` makes of a webhook's body what the tracker sends: headers that prove who it is, and the body's bytes.
    `people` is what the configuration says of who the tracker's accounts are.
    """

    name: str
    server: Served
    proven: Callable[[dict[str, Any]], tuple[dict[str, str], bytes]]
    stage: Stage
    connected: IssueTracker
    people: dict[str, str] = field(default_factory=dict, kw_only=True)

    def hear(self, body: dict[str, Any]) -> list[Taken]:
        """A webhook comes in, with its proof of who sends it."""
        assert self.connected.webhook is not None
        headers, raw = self.proven(body)
        received = self.connected.webhook.receive(headers, raw, self.stage.world.clock.now())
        return self.stage.world.trackers.inbox.accept(self.name, received.changes)

    def poll(self) -> int:
        """Ask the tracker what changed; how much of it was new."""
        return self.stage.world.trackers.poller.poll(self.name)

    def work(self, seconds: float = 0.0) -> None:
        """Let what trackers told and are to be told be done."""
        world = self.stage.world
        worker = world.trackers.worker(TriggeredDeployments(world.house.requests, {self.name: self.people}))
        end = world.clock.now().timestamp() + max(seconds, 0.1)  # what follows from one piece is done as well
        while (due := world.store.read(lambda tx: tx.tracker_tasks.next_due_at())) is not None and due <= end:
            world.clock.advance(max(0.0, due - world.clock.now().timestamp()) + 1e-5)
            for task in worker.claim(4):
                carry_out(worker, task)
        self.server.now = world.clock.now()

    def deploys(self) -> None:
        """Let what was started begin, and its run end well."""
        self.stage.go_on(1)
        self.stage.run_ends()
        self.work()


def a_tracked_stage(
    name: str,
    connected: IssueTracker,
    database: tuple[SqlStore, Engine],
    triggers: Sequence[Trigger],
    clock: FakeClock,
    *,
    told: Told | None = None,
    **changed: object,
) -> Stage:
    """A stage beside a tracker, on which a build v1 is good; `changed` are fields of the service's production."""
    access = TrackerAccess(
        tracker=connected.tracker,
        rules=connected.rules,
        releases=connected.releases,
        triggers=tuple(triggers),
        told=told or Told(),
    )
    stage = a_stage(*database, clock, known_trackers={name: access}, **changed)
    stage.build("v1")
    return stage
