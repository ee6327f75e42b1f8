"""One bot's life under a load, its deaths, and the verdict on it."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.buildbot import PROJECT
from tests.crash.checker import Verdict, check
from tests.crash.life import FLEET, WHOLE, Doom, Life
from tests.crash.load import LOADS
from tests.crash.outside import Outside
from tests.crash.places import BAD, DOOMED, GOOD, GROUP, NEXT, PLAIN, STORM
from tests.crash.points import POINTS, point_of
from tests.crash.shipping import WELL
from tests.crash.stage import outside_of
from tests.crash.trackers import SHIP, label, move
from tests.postgres_server import Cluster, cluster

RECORDS = Path(".crash")
REACH_S = 25.0  # after the load has been carried out
PEOPLE = 3
DEEDS = 3  # of each of them between two deaths: the witnesses keep the newest messages only
SQLITE, POSTGRESQL = "sqlite", "postgresql"
ONE, SEVERAL = "one", "several"


@dataclass
class Setting:
    """Which database, and one process or several; a server is started when it is first needed."""

    database: str = SQLITE
    processes: str = ONE
    server: Cluster | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def __str__(self) -> str:
        return f"{self.database}, {self.processes}"

    @property
    def roles(self) -> Sequence[str]:
        """The processes."""
        return WHOLE if self.processes == ONE else FLEET

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The address of an empty database of the server; "" for SQLite, whose file is made by whoever comes first."""
        if self.database == SQLITE:
            yield ""
            return
        if self.server is None:
            self.server = self._open.enter_context(cluster())
        name = self.server.fresh()
        try:
            yield self.server.url(name)
        finally:
            self.server.drop(name)

    def dump(self, database: str, to: Path) -> None:
        """Write down a database of the server."""
        assert self.server is not None
        program, address = self.server.binaries / "pg_dump", database.replace("+psycopg", "")
        subprocess.run([program, "--file", to, address], check=False, capture_output=True)

    def close(self) -> None:
        """End the server."""
        self._open.close()


def live_through(setting: Setting, doom: Doom, load: Callable[[Outside], None], *, name: str = "") -> Verdict:
    """Everything that went wrong while the bot died as its doom says and `load` happened, and what was counted."""
    with (
        setting.fresh_database() as database,
        tempfile.TemporaryDirectory(prefix="crash-") as folder,
        outside_of(Path(folder), setting.roles, doom, database=database, load=name) as outside,
    ):
        verdict = Verdict()
        try:
            outside.life.start()
            load(outside)
            deadline = time.monotonic() + REACH_S
            while outside.life.is_doomed and time.monotonic() < deadline:
                time.sleep(0.02)
            if outside.life.is_doomed:
                verdict.found.append(f"never reached after {outside.life.deaths} of {doom.deaths} deaths")
            else:
                verdict = check(outside)
                verdict.found += _strangers(outside.life)
        except AssertionError as problem:
            verdict.found.append(outside.life.problem or str(problem))
        outside.life.stop()
        if verdict.found:
            kept = RECORDS / f"failed-{time.strftime('%m%d-%H%M%S')}-{time.monotonic_ns() % 1000:03}"
            kept.mkdir(parents=True)
            for path in (*Path(folder).glob("*.log"), *Path(folder).glob("var/shipmate.db*")):
                shutil.copy(path, kept)
            if database:
                setting.dump(database, kept / "database.sql")
            verdict.found.append(f"kept: {kept}")
        return verdict


def _strangers(life: Life) -> Iterator[str]:
    """Deaths at points where another one of several processes was to die."""
    for name, role in life.casualties():
        if role not in (*WHOLE, point_of(name).role or role):
            yield f"{role} died at {name} instead of {point_of(name).role}"


def at_point(setting: Setting, name: str) -> Verdict:
    """How the bot fared that died there."""
    point = POINTS[name]
    points = tuple(one for one in (point.first, name) if one)
    return live_through(setting, Doom(points), LOADS[point.load], name=point.load)


def at_random(setting: Setting, seed: str, kills: int, tell: Callable[[str], None]) -> Verdict:
    """How the bot fared that was killed so often at moments that nobody chose, or one of its processes was.

    `tell` is given a line for each death.
    """
    draw = random.Random(seed)

    def load(outside: Outside) -> None:
        with ThreadPoolExecutor(PEOPLE) as people:
            seeds = [draw.random() for _ in range(PEOPLE)]
            for one in [people.submit(_go_on, outside, random.Random(each)) for each in seeds]:
                one.result()

    doom = Doom(kills=kills, draw=random.Random(draw.random()), tell=tell)
    return live_through(setting, doom, load)


def _go_on(outside: Outside, draw: random.Random) -> None:
    """One of those around the bot does one thing after the other, as long as there is a death to come."""
    deeds: dict[Callable[[], object], float] = {
        lambda: outside.press_retry(outside.fail(PROJECT)): 0.30,
        lambda: outside.press_retry(outside.fail(PROJECT), GROUP): 0.06,
        lambda: _type_retry(outside): 0.06,
        outside.run: 0.12,
        lambda: outside.fail(STORM): 0.10,
        lambda: outside.fail(DOOMED): 0.06,
        lambda: outside.fail(PLAIN): 0.10,
        outside.cancel: 0.06,
        lambda: outside.look(outside.fail(PROJECT)): 0.04,
        lambda: outside.wish(draw.choice(("subscribe", "mute"))): 0.05,
        outside.leave_unheard: 0.05,
        lambda: _deploy(outside, draw): 0.10,
        lambda: _ship(outside, draw): 0.06,
    }
    life, done = -1, 0
    while outside.life.is_doomed and not outside.life.is_over.is_set():
        life, done = outside.life.deaths, done + 1 if life == outside.life.deaths else 1
        if done > DEEDS:
            time.sleep(0.05)
            continue
        draw.choices(list(deeds), list(deeds.values()))[0]()


def _deploy(outside: Outside, draw: random.Random) -> None:
    """One person at a time, and a good version first: so it is known how each has to end."""
    if not outside.deploying.acquire(blocking=False):
        return
    try:
        is_bad = bool(outside.newest) and draw.random() < 0.5
        outside.deploy(BAD, "rolled_back") if is_bad else outside.deploy(GOOD, "succeeded")
    finally:
        outside.deploying.release()


def _ship(outside: Outside, draw: random.Random) -> None:
    """An issue asks for a deployment, by the status that it reaches or by a label."""
    issue = move(outside, [GOOD], WELL) if draw.random() < 0.5 else label(outside, SHIP, NEXT, WELL)
    outside.becomes(issue, "succeeded")


def _type_retry(outside: Outside) -> None:
    number = outside.fail(PROJECT)
    outside.say(GROUP, f"@Shipmate 重试 {PROJECT}#{number}", f"retry #{number}")
