"""The long campaign: `python -m tests.crash.campaign [--seed N] [--database …] [--processes …] [--kills 200]`.

First the bot dies at every named point once, then its database's schema is upgraded by processes that die at each
change, then it is killed at random moments under a mixed load. Each death is a line, and each point and each round of
random kills a verdict; what has passed under the same seed is not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.crash.checker import Verdict
from tests.crash.offline import back_up_at, starts, upgrade_from
from tests.crash.points import BACKUP_POINTS, POINTS, WHOLE_POINTS
from tests.crash.rounds import ONE, POSTGRESQL, RECORDS, SEVERAL, SQLITE, Setting, at_point, at_random

ROUND = 20
EVERY = "every"
Task = Callable[[], Verdict]


def _tasks(settings: Sequence[Setting], seed: str, kills: int) -> Iterator[tuple[str, Task]]:
    """What is to be lived through, by the title under which it is recorded."""
    for setting in settings:
        for name in POINTS:
            if name in WHOLE_POINTS and setting.processes != ONE:
                continue
            if name not in BACKUP_POINTS:
                yield f"point {name} ({setting})", partial(at_point, setting, name)
            elif setting.database == SQLITE:
                yield f"point {name} ({setting})", partial(back_up_at, setting, name)
    for setting in {one.database: one for one in settings}.values():
        for start in starts():
            yield f"upgrade from {start or 'nothing'} ({setting.database})", partial(upgrade_from, setting, start)
    for number, first in enumerate(range(0, kills, ROUND)):
        setting, count = settings[number % len(settings)], min(ROUND, kills - first)
        die = partial(at_random, setting, f"{seed}:{first}", count, _tell)
        yield f"kills {first + 1}-{first + count} ({setting})", die


def _tell(line: str) -> None:
    print(line, flush=True)


def _live(tasks: Sequence[tuple[str, Task]], record: Path) -> tuple[int, Counter[str]]:
    """Carry out what `record` does not tell as passed; how many failed, and what was counted in all of them."""
    passed = {}
    if record.exists():
        passed = {line["title"]: line["counts"] for line in map(json.loads, record.read_text("utf-8").splitlines())}
        print(f"{len(passed)} have passed before; remove {record} to repeat them", flush=True)
    failures, counts = 0, Counter[str]()
    for title, task in tasks:
        if title in passed:
            _add(counts, passed[title])
            continue
        began = time.monotonic()
        verdict = task()
        spent_s = time.monotonic() - began
        failures += bool(verdict.found)
        _add(counts, verdict.counts)
        print(f"{title}: {'; '.join(verdict.found) or 'whole'} ({spent_s:.1f} s)", flush=True)
        if not verdict.found:
            with record.open("a", encoding="utf-8") as lines:
                lines.write(f"{json.dumps({'title': title, 'counts': verdict.counts})}\n")
    return failures, counts


def _add(counts: Counter[str], more: dict[str, int]) -> None:
    highest = max(counts["most tries"], more.get("most tries", 0))
    counts.update(more)
    counts["most tries"] = highest


def _summary(tasks: Sequence[tuple[str, Task]], counts: Counter[str], failures: int) -> Iterator[str]:
    kinds = Counter(title.partition(" ")[0] for title, _ in tasks)
    yield f"{kinds['point']} points, {kinds['upgrade']} upgrades, {kinds['kills']} rounds of random kills"
    yield f"{counts.pop('deaths', 0)} deaths"
    yield ", ".join(f"{name}: {count}" for name, count in counts.items())
    yield f"{failures} failures"


def _settings(database: str, processes: str) -> list[Setting]:
    databases = (SQLITE, POSTGRESQL) if database == EVERY else (database,)
    return [
        Setting(one, other) for other in ((ONE, SEVERAL) if processes == EVERY else (processes,)) for one in databases
    ]


def main() -> int:
    """Run what has not passed yet; the exit code."""
    parser = argparse.ArgumentParser(description="Kill the bot at every named point and at random moments.")
    parser.add_argument("--seed", default="", help="repeat, or go on with, the campaign of this seed")
    parser.add_argument("--kills", type=int, default=200, help="how many random kills (200)")
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL, EVERY), default=EVERY)
    parser.add_argument("--processes", choices=(ONE, SEVERAL, EVERY), default=EVERY, help="one, or web, stream, …")
    parser.add_argument(
        "--only", nargs="*", default=(), metavar="WORD", help="point, upgrade, kills, or points by name"
    )
    given = parser.parse_args()
    seed = given.seed or str(random.SystemRandom().randrange(10**6))
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # each death cuts off calls to the playground
    RECORDS.mkdir(exist_ok=True)
    settings = _settings(given.database, given.processes)
    only = set(given.only)
    tasks = [one for one in _tasks(settings, seed, given.kills) if not only or only & set(one[0].split())]
    print(f"seed {seed}: {len(tasks)} lives", flush=True)
    try:
        failures, counts = _live(tasks, RECORDS / f"{seed}.jsonl")
    finally:
        for setting in settings:
            setting.close()
    print("\n".join(_summary(tasks, counts, failures)), f"seed {seed}", sep="\n", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
