"""A host whose clock is set forward or back by an hour while the bot works.

With SQLite the bot goes by that clock; with PostgreSQL by the server's, which stays right.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.levered import Levers
from tests.faults.proxy import Kind, fault
from tests.faults.scene import POST, Faulty, faulty_scene
from tests.scenarios.running import CI, signed
from tests.stores import MakeDatabase

HOUR_S = 3600.0


@dataclass
class Timed:
    """A bot, and the clock of its host."""

    faulty: Faulty
    levers: Levers
    is_misled: bool

    def seen(self, ahead_s: float) -> float:
        """By how much the bot is wrong while the host's clock is ahead by so much."""
        return ahead_s if self.is_misled else 0.0

    def leaps(self) -> int:
        """How often the bot has noticed so far that its clock was set forward."""
        return self.faulty.scene.bot.log.read_text("utf-8").count("the clock was set forward, ")

    def tell(self, project: str, event: str, ahead_s: float, **facts: Any) -> None:
        """A sender whose clock is ahead by so much tells of a build, and comes again until it is heard."""

        def is_taken() -> bool:
            body = json.dumps({"event": f"build.{event}", "project": project, "number": 1, **facts}).encode()
            return bool(self.faulty.scene.post(body, signed(body, at=time.time() + ahead_s)).status_code == 202)

        self.faulty.scene.eventually(is_taken, "the event to be taken")


@pytest.fixture(scope="module")
def timed(bot_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timed]:
    """A bot under levers, over each engine."""
    folder, database = tmp_path_factory.mktemp("clock"), bot_database()
    levers = Levers(folder)
    of_bot = {"wrapped": levers.wrapped, "environment": levers.environment}
    with faulty_scene(folder, ("steady",), sections=database, **of_bot) as faulty:
        yield Timed(faulty, levers, is_misled=not database)


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_a_clock_that_jumps_delays_nothing(timed: Timed, ahead_s: float) -> None:
    """The card that stood shows the end, new ones appear, people are answered: within moments, and nothing twice."""
    faulty = timed.faulty
    project = faulty.begin("steady")["steady"]
    faulty.card("steady", project)
    timed.levers.set_clock(ahead_s)
    try:
        timed.tell(project, "finished", timed.seen(ahead_s), status="success")
        faulty.card("steady", project, f"✅ {project}")
        faulty.scene.ask(CI, "/ship whoami", "slack:U024ALICE01")
    finally:
        timed.levers.set_clock(0.0)
    timed.tell(f"{project}-after", "started", 0.0)  # the way back is a jump, too
    faulty.card("steady", f"{project}-after")
    faulty.scene.ask(CI, "/ship whoami", "slack:U024ALICE01")


def test_a_clock_that_jumps_during_a_call_doubles_nothing(timed: Timed) -> None:
    """Its lease seems to have run out while a post is under way: the post is waited for, not made again."""
    faulty = timed.faulty
    held = fault(Kind.HOLD, POST, "lane-steady-", times=1)
    faulty.chat.breaks(held)
    project = faulty.begin("steady")["steady"]
    faulty.scene.eventually(lambda: held.met, "the post to be under way")
    before = timed.leaps()
    timed.levers.set_clock(HOUR_S)
    try:
        timed.tell(project, "finished", timed.seen(HOUR_S), status="success")
        if timed.is_misled:
            faulty.scene.eventually(lambda: timed.leaps() > before, "that to be noticed")
        faulty.chat.breaks()
        faulty.card("steady", project, f"✅ {project}")
        assert len(faulty.posts(project)) == 1
    finally:
        timed.levers.set_clock(0.0)


def test_a_signature_is_judged_by_the_clock(timed: Timed) -> None:
    """While the clock that counts is wrong by an hour what others sign is refused, and taken when it is right again."""
    faulty = timed.faulty
    timed.levers.set_clock(HOUR_S)
    try:
        answer = faulty.scene.tell("lane-steady-signed", 1, "started")
        assert answer.status_code == (401 if timed.is_misled else 202)
    finally:
        timed.levers.set_clock(0.0)
    timed.tell("lane-steady-signed", "started", 0.0)
