"""kill -9 at named points: nothing accepted is lost, nothing is shown or started twice, the trail stays whole.

See `points.POINTS` for where the process dies. The playground and the Buildbot outlive it and are the witnesses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from playground import world
from playground.options import Options
from playground.server import Playground
from tests.crash.buildbot import PROJECT, TOKEN, LastingBuildbot
from tests.crash.life import CI, GROUP, TEMPLATE, Life, configuration
from tests.crash.points import POINTS
from tests.crash.runner import target

pytestmark = pytest.mark.slow


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A configured bot that is not started yet."""
    template = f"{world.DINGTALK_TEMPLATE}={TEMPLATE}"
    options = Options(port=0, budgets=False, dingtalk_templates=(template,))
    with Playground(options) as playground, LastingBuildbot() as buildbot, requests.Session() as session:
        session.trust_env = False
        life = Life(tmp_path, playground, buildbot, session)
        (tmp_path / "token").write_text(TOKEN, "utf-8")
        written = yaml.safe_dump(configuration(playground, buildbot, life.port))
        (tmp_path / "shipmate.yaml").write_text(written, "utf-8")
        yield life
        life.kill()


@pytest.mark.parametrize(("point", "stored"), [("before_ingest_commit", 0), ("after_ingest_commit", 1)])
def test_an_event_is_stored_or_sent_again(point: str, stored: int, life: Life) -> None:
    """The sender got no answer and comes again: one event and one card, stored the first time or the second."""
    life.start(point)
    assert life.push() is None
    life.await_death()
    assert life.count("SELECT count(*) FROM events") == stored
    life.start()
    assert life.push() == (200 if stored else 202)
    life.card(CI, "failed")
    assert life.count("SELECT count(*) FROM events WHERE kind = 'build_finished'") == 1
    life.assert_whole()


@pytest.mark.parametrize("point", ["after_claim", "after_post", "after_notice", "after_card"])
def test_an_accepted_event_is_shown_once(point: str, life: Life) -> None:
    """The sender was answered before the process died and never comes again: each place shows one card all the same."""
    life.start(point)
    assert life.push() == 202
    life.await_death()
    life.start()
    life.card(CI, "failed")
    life.card(GROUP, "failed")
    life.assert_whole()


@pytest.mark.parametrize(
    "point",
    ["before_ack", "after_command_claim", "before_trigger", "after_trigger", "before_answer", "after_answer"],
)
def test_a_press_starts_one_build(point: str, life: Life) -> None:
    """Wherever the process dies between the press and its answer, Buildbot builds once and the person is told of it."""
    life.start(point)
    assert life.push() == 202
    life.card(CI, "failed")
    life.press_retry()
    life.await_death()
    life.start()
    life.eventually(lambda: any(f"{PROJECT}#2" in text for text in life.whispers()), "the answer")
    life.card(CI, "Retried by")
    assert life.buildbot.rebuilds == 1
    assert life.count("SELECT count(*) FROM commands WHERE state = 'done'") == 1
    assert life.count("SELECT count(*) FROM audit WHERE outcome LIKE 'done:%'") == 1
    life.assert_whole()
    assert life.buildbot.rebuilds == 1
    assert len([text for text in life.whispers() if f"{PROJECT}#2" in text]) <= (2 if point == "after_answer" else 1)


@pytest.mark.parametrize("point", ["during_migration", "during_sealing"])
def test_the_database_is_whole_after_a_death(point: str, life: Life) -> None:
    """A schema is there as a whole or not at all, and so is a link of the trail."""
    life.start(point, awaits=False)
    life.await_death()
    life.start()
    assert life.push() == 202
    life.card(CI, "failed")
    life.press_retry()
    life.eventually(lambda: any(f"{PROJECT}#2" in text for text in life.whispers()), "the answer")
    life.assert_whole()
    assert life.buildbot.rebuilds == 1


def test_every_point_names_a_function() -> None:
    """A renamed function takes its kill points along: none is left that the campaign could never reach."""
    for point in POINTS.values():
        for function in filter(None, (point.function, point.since)):
            owner, name = target(function)
            assert callable(getattr(owner, name))
        assert not point.first or point.first in POINTS
