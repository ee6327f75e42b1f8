"""A sample of the campaign: kill -9 in every phase, and nothing accepted is lost, nothing shown or started twice.

One bot dies at many points, one after the other. The playground and the Buildbot outlive it and are the witnesses; see
`checker` for what they are asked, and `points.PHASES` for where a process dies in the long run.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.crash.life import ROOT, Doom
from tests.crash.load import LOADS
from tests.crash.offline import starts, upgrade_from
from tests.crash.outside import Outside
from tests.crash.places import GOOD
from tests.crash.point import LOAD
from tests.crash.points import BACKUP_POINTS, PHASES, POINTS, WHOLE_POINTS
from tests.crash.rounds import POSTGRESQL, SEVERAL, Setting, live_through
from tests.crash.runner import target
from tests.crash.shipping import WELL
from tests.crash.trackers import move
from tests.postgres_server import Cluster

pytestmark = pytest.mark.slow
CALM_S = 20.0
SAMPLE = (
    "during_migration",
    "after_ingest_commit",
    "before_render",
    "after_post",
    "before_settle",
    "before_ack",
    "after_trigger",
    "before_answer",
    "after_robot_end",
)


def _work(outside: Outside, deaths: int) -> None:
    """Until there were so many deaths; one can come so late that what the next one waits for was over: then more."""
    LOADS["usual"](outside)
    for _ in range(deaths):
        with suppress(AssertionError):
            outside.until(lambda: outside.life.deaths == deaths, "all deaths", CALM_S)
            return
        LOADS["usual"](outside)
    outside.until(lambda: outside.life.deaths == deaths, "all deaths")


def test_the_only_process_comes_back_to_its_work() -> None:
    """It dies on an event's way to its cards and on a press's way to its build and answer: all is there, once.

    But for what a robot was told: nobody can ask it, so that a death costs one post that stands twice.
    """

    def load(outside: Outside) -> None:
        _work(outside, len(SAMPLE) - 1)
        LOADS["robot"](outside)

    verdict = live_through(Setting(), Doom(SAMPLE), load)
    assert verdict.found == []
    assert verdict.counts["posts that stand twice at a robot"] == 1


def test_a_deployment_goes_on_where_it_was() -> None:
    """It dies when the CI system has begun a run, and when a check has looked: the version is there, deployed once."""
    doom = Doom(("after_order", "after_measuring"))
    verdict = live_through(Setting(), doom, lambda outside: outside.deploy(GOOD, "succeeded"))
    assert verdict.found == []
    assert verdict.counts["deployments"] == 1


def test_an_issue_is_moved_once_and_its_tracker_stays_open() -> None:
    """It dies when it has another token and when it has moved the issue, neither noted: no comment stands twice."""

    def load(outside: Outside) -> None:
        outside.becomes(move(outside, [GOOD], WELL), "succeeded")

    verdict = live_through(Setting(), Doom(("after_token", "after_transition")), load)
    assert verdict.found == []
    assert verdict.counts["refresh tokens exchanged twice"] == 1


def test_a_way_back_that_failed_calls_people_and_locks() -> None:
    """It dies storing that, and when it has called: one last state, one call a place, the lock, the issue told."""
    verdict = live_through(Setting(), Doom(("in_not_restored", "after_page")), LOADS["rollback_failed"])
    assert verdict.found == []
    assert verdict.counts["deployments"] == 4


@pytest.mark.postgres
def test_the_others_take_over(postgres: Cluster) -> None:
    """Of several processes over one PostgreSQL the door dies, a worker with a card, and one with a press."""
    points = ("after_ingest_commit", "after_card", "after_trigger")
    setting = Setting(POSTGRESQL, SEVERAL, postgres)
    verdict = live_through(setting, Doom(points), lambda outside: _work(outside, len(points)))
    assert verdict.found == []


@pytest.mark.postgres
def test_an_upgrade_is_whole_or_nothing(postgres: Cluster) -> None:
    """It dies after two changes of the newest version: the schema is the one before, and the next try goes through."""
    verdict = upgrade_from(Setting(POSTGRESQL, server=postgres), starts()[-1], (1, 2))
    assert verdict.found == []
    assert verdict.counts["upgrades cut short"] > 0


def test_every_point_names_a_function() -> None:
    """A renamed function takes its kill points along: none is left that the campaign could never reach, none twice."""
    assert len(POINTS) == sum(map(len, PHASES.values()))
    for point in POINTS.values():
        for function in filter(None, (point.function, point.since)):
            if function != LOAD:
                owner, name = target(function)
                assert callable(getattr(owner, name))
        assert not point.first or point.first in POINTS
        assert point.load in LOADS


def test_the_points_cover_every_phase() -> None:
    """There are many, each of one phase, and the sample has one of each that an event or a command goes through."""
    phases = {name: phase for phase, points in PHASES.items() for name in points}
    assert phases.keys() == POINTS.keys() > {*BACKUP_POINTS, *WHOLE_POINTS}
    assert len(phases) == sum(map(len, PHASES.values())) >= 100
    assert f"{len(phases)} named points" in (ROOT / "docs" / "reliability.md").read_text("utf-8")
    assert {phases[name] for name in SAMPLE} == {"migrate", "ingest", "render", "send", "settle", "command", "trigger"}
