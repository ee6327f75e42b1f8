"""What changes by itself in the texts of CI systems costs no call; what tells something always does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.builds import BuildStatus, FailedTest, Stage, StageStatus
from bot.domain.cards import Card
from bot.domain.events import Event
from bot.services.looks import why_unchanged
from tests.services.world import World
from tests.stores import event_of

pytestmark = pytest.mark.one_engine

RUNNING, SUCCESS = BuildStatus.RUNNING, BuildStatus.SUCCESS


def _saying(second: int, status: BuildStatus = RUNNING, **facts: Any) -> Event:
    event = event_of(status=status, at=float(second), started=0)
    return replace(event, facts=replace(event.facts, **facts), delivery_key=f"{second}.{facts}")


def _stages(*names: str, status: StageStatus = StageStatus.RUNNING) -> tuple[Stage, ...]:
    return tuple(Stage(name, status) for name in names)


_COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"
TICKING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"stages": _stages("Tests (12 s)")}, {"stages": _stages("Tests (14 s)")}),
    ({"stages": _stages("Tests 00:59")}, {"stages": _stages("Tests 01:00")}),
    ({"stages": _stages("测试 59 秒")}, {"stages": _stages("测试 1 分 3 秒")}),
    (
        {"commit": _COMMIT, "commit_title": "Nightly of 2026-11-21T10:15:00Z"},
        {"commit": _COMMIT, "commit_title": "Nightly of 2026-11-21T10:16:07Z"},
    ),
    (
        {"failed_tests": (FailedTest("test_a", "<object at 0x7f3a2b4c5d60>"),)},
        {"failed_tests": (FailedTest("test_a", "<object at 0x7f3a2b4c5e10>"),)},
    ),
    ({"url": "https://ci/12?run_id=4711"}, {"url": "https://ci/12?run_id=4712"}),
]
TELLING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"stages": _stages("Tests (1 failed)")}, {"stages": _stages("Tests (2 failed)")}),
    ({"stages": _stages("Tests (12 s)")}, {"stages": _stages("Tests (14 s)", "Package")}),
    ({"stages": _stages("Tests (12 s)")}, {"stages": _stages("Tests (12 s)", status=StageStatus.SUCCESS)}),
    ({"stages": _stages("Build 1.2.3")}, {"stages": _stages("Build 1.2.4")}),
    ({"commit": _COMMIT, "commit_title": "OPS-12 5 s"}, {"commit": _COMMIT, "commit_title": "OPS-13 5 s"}),
    ({"commit": "9fceb02d0ae598e9"}, {"commit": "1c002dd4b536e747"}),
    ({"failed_tests": (FailedTest("test_a[5s]"),)}, {"failed_tests": (FailedTest("test_a[9s]"),)}),
    ({"url": "https://ci/job/12"}, {"url": "https://ci/job/13"}),
]


@pytest.mark.parametrize(("first", "then"), TICKING)
def test_what_changes_by_itself_costs_no_call(world: World, first: dict[str, Any], then: dict[str, Any]) -> None:
    """While a build runs a text that differs in a duration, time or id is not sent again, and `explain` says so."""
    world.accept(_saying(0, **first))
    world.deliver()
    world.accept(_saying(10, **then))
    world.deliver(10)
    assert world.operations() == ["post"]
    assert world.card().reason == "unchanged:times"
    assert world.card().shown_revision == world.card().wanted_revision
    assert len(world.card().shown_digest) <= 64
    world.ask("explain user-service#12")
    world.work()
    assert "nothing has changed there but times and ids" in str(world.answer)


@pytest.mark.parametrize(("first", "then"), TELLING)
def test_what_tells_something_is_sent(world: World, first: dict[str, Any], then: dict[str, Any]) -> None:
    """A count, a version, another stage or how one stands is shown, whatever else changes with it."""
    world.accept(_saying(0, **first))
    world.deliver()
    world.accept(_saying(10, **then))
    world.deliver(10)
    assert world.operations() == ["post", "update"]


def test_the_newer_text_comes_with_the_next_change(world: World) -> None:
    """What was not worth a call is on the card as soon as anything else is."""
    world.accept(_saying(0, stages=_stages("Tests (12 s)")))
    world.deliver()
    for second in range(10, 40, 10):
        world.accept(_saying(second, stages=_stages(f"Tests ({second} s)")))
        world.deliver(10)
    world.accept(_saying(50, stages=_stages("Tests (50 s)", "Package")))
    world.deliver(10)
    assert world.operations() == ["post", "update"]
    assert "Tests (50 s)" in str(_card(world))


def test_the_end_is_shown_as_it_is(world: World) -> None:
    """At the end every text counts: the last duration stands there, and one that is put right later does, too."""
    world.accept(_saying(0, stages=_stages("Tests (12 s)")))
    world.deliver()
    world.accept(_saying(20, SUCCESS, stages=_stages("Tests (20 s)", status=StageStatus.SUCCESS)))
    world.deliver(10)
    assert "Tests (20 s)" in str(_card(world))
    world.accept(_saying(21, SUCCESS, stages=_stages("Tests (21 s)", status=StageStatus.SUCCESS)))
    world.deliver(10)
    assert world.operations() == ["post", "update", "update"]
    assert "Tests (21 s)" in str(_card(world))


def test_what_an_older_version_has_shown_is_known() -> None:
    """A row that tells no steady part is compared by all that is shown, and an end never by the steady part."""
    exact, steady = "a" * 32, "b" * 32
    assert why_unchanged(f"{exact[:31]}~{steady[:31]}", exact) == "unchanged"
    assert why_unchanged(exact, exact) == "unchanged"
    assert why_unchanged(f"{exact[:31]}~{steady[:31]}", steady) is None
    assert why_unchanged(steady, f"{exact[:31]}~{steady[:31]}") is None
    assert why_unchanged(f"{exact[:31]}~{steady[:31]}", "") is None


def _card(world: World) -> Card:
    content = world.messenger.calls[-1].content
    assert isinstance(content, Card)
    return content
