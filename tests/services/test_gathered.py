"""Events that come together: what they come to is what they would have come to one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, select

from bot.domain.builds import BuildStatus
from bot.domain.events import Event
from bot.domain.noise import Threshold
from bot.domain.routing import Match, Milestone, Route
from bot.storage.tables import cards, jobs, subjects
from tests.services.world import World
from tests.stores import event_of

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
TOGETHER, ALONE = "billing", "gateway"
ROUTES = (
    Route("routes[0]", Match(project=(TOGETHER, ALONE)), ("ci",), thread_log=True),
    Route("routes[1]", Match(), ("dev",), when=frozenset({Milestone.FAILED, Milestone.FIXED}), mention=("slack:U1",)),
)


def _told(order: random.Random, project: str) -> list[Event]:
    """Events about a few builds, some of one second, some run again, in any order and some of them twice."""
    told = []
    for number in order.sample(range(6, 14), 5):
        started, attempt = float(order.randrange(3)), order.choice((1, 1, 1, 2))
        branch = order.choice(("main", "main", "dev"))
        ended = order.choice((SUCCESS, FAILED))
        common: dict[str, Any] = {"project": project, "branch": branch, "attempt": attempt}
        told.append(event_of(number, RUNNING, at=started, **common))
        told.append(event_of(number, ended, at=started + 5, started=started, **common))
        if order.random() < 0.3:
            told.append(event_of(number, ended, at=started + 5, started=started, log="boom", **common))
        if order.random() < 0.3:
            again = {**common, "attempt": attempt + 1}
            told.append(event_of(number, order.choice((RUNNING, SUCCESS)), at=started + 9, started=started, **again))
    order.shuffle(told)
    return [*told, *order.sample(told, 2)]


def _state(database: Engine, project: str) -> list[list[tuple[Any, ...]]]:
    """All that is stored of a project's builds, as if it had another name."""
    kept = (
        (subjects, ("key", "branch", "status", "is_finished", "is_fixed", "ordered_at", "revision", "folded")),
        (
            cards,
            (
                *("subject_key", "destination", "slot", "wanted_revision", "shown_revision", "is_final"),
                *("final_since", "shown_final", "is_dead", "options", "folded_into"),
            ),
        ),
        (jobs, ("key", "kind", "due_at")),
    )
    with database.connect() as connection:
        rows = [
            [tuple(row) for row in connection.execute(select(*(of.c[name] for name in names)))] for of, names in kept
        ]
    found = [[row for row in of if f"/{project}#" in row[0]] for of in rows]
    return [sorted((row[0].replace(project, "?"), *map(repr, row[1:])) for row in of) for of in found]


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_together_ends_as_what_comes_alone(
    seed: int, make_world: Callable[..., World], database: Engine
) -> None:
    """Subjects, who fixed whom, cards, their options and jobs are the same, whatever is stored before."""
    world = make_world(routes=ROUTES, readable=frozenset({"buildbot"}))
    both: Sequence[tuple[list[Event], list[Event]]] = [
        (_told(random.Random(f"{seed}.{part}"), TOGETHER), _told(random.Random(f"{seed}.{part}"), ALONE))
        for part in range(3)
    ]
    for together, alone in both:
        outcomes = world.accept(*together)
        assert outcomes == [outcome for event in alone for outcome in world.accept(event)]
        assert _state(database, TOGETHER) == _state(database, ALONE)
        world.deliver(100)
        world.clock.advance(10)


def test_digests_take_what_comes_together_too(make_world: Callable[..., World], database: Engine) -> None:
    """Of builds that begin together those beyond the threshold are shown by the digest, which ends with them."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), group=Threshold(2, 60.0))])
    world.accept(*(event_of(number, at=number) for number in range(5)))
    ends = [event_of(number, FAILED, at=20 + number, started=number) for number in range(5)]
    world.accept(*ends)
    with database.connect() as connection:
        rows = connection.execute(select(cards.c.subject_key, cards.c.folded_into, cards.c.is_final)).all()
    assert sum(1 for row in rows if row.folded_into) >= 3
    assert all(row.is_final for row in rows)
