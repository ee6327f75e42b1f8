"""The long campaign: `python -m tests.crash.campaign [--seed N] [--kills 200] [--only POINT …]`.

First the bot dies at every named point once, then at random moments under a mixed load. Each death is a line, and each
point and each round of random kills a verdict; what has passed under the same seed is not repeated.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.crash.buildbot import PROJECT
from tests.crash.checker import check
from tests.crash.load import DOOMED, LOADS, STORM, Outside, outside_of
from tests.crash.points import POINTS

ROUND = 20
RECORDS = Path(".crash")
REACH_S = 25.0  # after the load has been carried out


@dataclass(frozen=True, slots=True)
class Lot:
    """One life of the bot: the point at which it dies, or after how many seconds it is killed."""

    point: str = "none"
    after_s: float | None = None


@dataclass
class Keeper:
    """Starts the bot again whenever it died, through all lots and then for good."""

    outside: Outside
    lots: Sequence[Lot]
    deaths: int = 0
    problem: str = ""
    _is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`."""
        for lot in (*self.lots, Lot()):
            life = self.outside.life
            life.start(lot.point, awaits=False)
            child = life.child
            assert child is not None
            born = time.monotonic()
            while child.process.poll() is None and not self._is_over.is_set():
                if lot.after_s is not None and time.monotonic() - born > lot.after_s:
                    child.process.kill()
                    child.process.wait(30)
                time.sleep(0.002)
            if self._is_over.is_set():
                return
            if child.process.returncode != -signal.SIGKILL:
                self.problem = f"the bot ended by itself: {child.tail()}"
                self.outside.is_over.set()
                return
            self.deaths += 1
            if lot.after_s is not None:
                print(f"  kill {self.deaths} of {len(self.lots)}, {lot.after_s:.2f} s after the start", flush=True)

    def stop(self) -> None:
        """Start it no more."""
        self._is_over.set()


def live_through(lots: Sequence[Lot], load: Callable[[Outside, Keeper], None], *, is_random: bool) -> list[str]:
    """Everything that went wrong while the bot died as drawn and `load` happened."""
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, outside_of(Path(folder)) as outside:
        keeper = Keeper(outside, lots)
        thread = threading.Thread(target=keeper.run, name="keeper")
        thread.start()
        try:
            load(outside, keeper)
            deadline = time.monotonic() + REACH_S
            while keeper.deaths < len(lots) and time.monotonic() < deadline:
                time.sleep(0.02)
            if keeper.deaths < len(lots):
                return [f"never reached after {keeper.deaths} of {len(lots)} deaths"]
            found = check(outside, may_give_up=is_random)
        except AssertionError as problem:
            found = [keeper.problem or str(problem)]
        finally:
            keeper.stop()
            thread.join()
        if found:
            RECORDS.mkdir(exist_ok=True)
            kept = RECORDS / f"failed-{int(time.time())}.log"
            kept.write_bytes((Path(folder) / "log").read_bytes())
            found.append(f"log: {kept}")
        return found


def at_point(name: str) -> list[str]:
    """Everything that went wrong when the bot died there."""
    point = POINTS[name]
    lots = [Lot(one) for one in (point.first, name) if one]
    return live_through(lots, lambda outside, _: LOADS[point.load](outside), is_random=False)


def at_random(draw: random.Random, kills: int) -> list[str]:
    """Everything that went wrong when the bot was killed so often at moments that nobody chose."""
    lots = [Lot(after_s=draw.uniform(0.3, 5.0)) for _ in range(kills)]

    def go_on(outside: Outside, keeper: Keeper, choose: random.Random) -> None:
        while keeper.deaths < kills and not outside.is_over.is_set():
            kind = choose.random()
            if kind < 0.6:
                outside.press_retry(outside.fail(PROJECT))
            elif kind < 0.75:
                outside.run()
            elif kind < 0.9:
                outside.fail(STORM)
            else:
                outside.fail(DOOMED)

    def load(outside: Outside, keeper: Keeper) -> None:
        with ThreadPoolExecutor(3) as people:
            for one in [people.submit(go_on, outside, keeper, random.Random(draw.random())) for _ in range(3)]:
                one.result()

    return live_through(lots, load, is_random=True)


def _tasks(seed: str, kills: int, only: Sequence[str] | None) -> dict[str, Callable[[], list[str]]]:
    """What is to be lived through, by the title under which it is recorded."""
    tasks: dict[str, Callable[[], list[str]]] = {
        f"point {name}": partial(at_point, name) for name in (POINTS if only is None else only)
    }
    if only is None:
        for first in range(0, kills, ROUND):
            count, draw = min(ROUND, kills - first), random.Random(f"{seed}:{first}")
            tasks[f"kills {first + 1}-{first + count}"] = partial(at_random, draw, count)
    return tasks


def _live(tasks: dict[str, Callable[[], list[str]]], record: Path | None) -> int:
    """Carry out what `record` does not tell as passed; how many failed."""
    passed = record.read_text("utf-8").splitlines() if record is not None and record.exists() else []
    if passed:
        print(f"{len(passed)} have passed before; remove {record} to repeat them", flush=True)
    failures = 0
    for title, task in tasks.items():
        if title in passed:
            continue
        began = time.monotonic()
        found = task()
        failures += bool(found)
        print(f"{title}: {'; '.join(found) or 'whole'} ({time.monotonic() - began:.1f} s)", flush=True)
        if record is not None and not found:
            with record.open("a", encoding="utf-8") as lines:
                lines.write(f"{title}\n")
    return failures


def main() -> int:
    """Run what has not passed yet; the exit code."""
    parser = argparse.ArgumentParser(description="Kill the bot at every named point and at random moments.")
    parser.add_argument("--seed", default="", help="repeat, or go on with, the campaign of this seed")
    parser.add_argument("--kills", type=int, default=200, help="how many random kills (200)")
    parser.add_argument("--only", nargs="*", default=None, metavar="POINT", help="only these points, no random kills")
    given = parser.parse_args()
    seed = given.seed or str(random.SystemRandom().randrange(10**6))
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # each death cuts off calls to the playground
    RECORDS.mkdir(exist_ok=True)
    print(f"seed {seed}, {len(POINTS)} points, {given.kills} random kills", flush=True)
    record = None if given.only is not None else RECORDS / f"{seed}.txt"
    failures = _live(_tasks(seed, given.kills, given.only), record)
    print(f"{failures} failures, seed {seed}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
