"""Builds listed in the order in which they began: what a real Buildbot cannot be brought to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bot.errors import Unavailable
from integrations.buildbot.api import BuildbotApi
from integrations.buildbot.config import Config
from integrations.buildbot.history import MOST_BEHIND, BuildbotHistory
from integrations.buildbot.reader import BuildbotReader
from tests.integrations.buildbot.stand_in import Answer, Call, StandIn, build, rows


@pytest.fixture
def history(config: Config, api: BuildbotApi, reader: BuildbotReader, stand_in: StandIn) -> BuildbotHistory:
    """The history of one project's builder among two."""
    stand_in.answers["GET builders"] = rows(
        "builders", {"builderid": 7, "name": "user-service"}, {"builderid": 8, "name": "somebody-elses"}
    )
    return BuildbotHistory("buildbot", config, api, reader)


def serve(stand_in: StandIn, *builds: dict[str, Any]) -> list[Call]:
    """Answer questions for builds as Buildbot does, oldest or newest first; every question is kept."""
    asked: list[Call] = []

    def answer(call: Call) -> Answer:
        asked.append(call)
        least, most = (
            int(call.query.get(name, [end])[0]) for name, end in (("buildid__gt", 0), ("buildid__le", 10**9))
        )
        found = sorted(
            (one for one in builds if least < one["buildid"] <= most),
            key=lambda one: one["buildid"],
            reverse=call.query["order"] == ["-buildid"],
        )
        return rows("builds", *found[: int(call.query["limit"][0])])

    stand_in.answers["GET builds"] = answer
    return asked


def ours(number: int, **changed: Any) -> dict[str, Any]:
    """A build of the configured builder."""
    return build(number, builderid=7, **changed)


def test_the_first_look_only_marks_where_things_stand(history: BuildbotHistory, stand_in: StandIn) -> None:
    """Whoever sets the bot up is not shown the past."""
    serve(stand_in, *(ours(number) for number in range(1, 100)))
    begun = history.begun_since("", 50)
    assert (begun.events, begun.mark, begun.is_all) == ((), "99.99", True)


def test_a_quiet_buildbot_is_asked_one_small_question(history: BuildbotHistory, stand_in: StandIn) -> None:
    """Where nothing began, a look costs one build."""
    asked = serve(stand_in, ours(4))
    assert history.begun_since("4.4", 50).mark == "4.4"
    assert [call.query["limit"] for call in asked] == [["1"]]
    assert stand_in.paths("GET") == ["/api/v2/builds"]


def test_builds_of_other_builders_are_passed_over(history: BuildbotHistory, stand_in: StandIn) -> None:
    """They are nobody's here; the builders' names are asked for once."""
    serve(stand_in, ours(5), build(6, builderid=8), ours(7))
    begun = history.begun_since("4.7", 50)
    assert [str(event.subject) for event in begun.events] == [
        "build:buildbot/user-service#5",
        "build:buildbot/user-service#7",
    ]
    assert begun.mark == "7.7"
    assert history.begun_since("4.7", 50).events == begun.events
    assert stand_in.paths("GET").count("/api/v2/builders") == 1


def test_a_builder_that_came_later_is_known_too(history: BuildbotHistory, stand_in: StandIn) -> None:
    """A number without a name makes the names be asked for again."""
    serve(stand_in, ours(5), build(6, builderid=9))
    history.begun_since("4.5", 50)
    stand_in.answers["GET builders"] = rows("builders", {"builderid": 9, "name": "user-service"})
    assert [event.subject.number for event in history.begun_since("5.6", 50).events] == ["6"]


def test_a_build_is_told_as_it_stands(history: BuildbotHistory, stand_in: StandIn) -> None:
    """With its branch and page; who triggered it is not taken from what a rebuild copied."""
    properties = {"branch": ["main", "Build"], "owner": ["admin", "Force Build Form"]}
    serve(stand_in, ours(5, properties=properties))
    (event,) = history.begun_since("4.5", 50).events
    assert (event.facts.branch, event.facts.triggered_by) == ("main", None)
    assert event.facts.url == "https://ci.example.com/#/builders/7/builds/5"


def test_a_reset_database_is_read_from_its_start(history: BuildbotHistory, stand_in: StandIn) -> None:
    """Numbers that begin at 1 again do not blind the look until they have caught up."""
    serve(stand_in, ours(1), ours(2))
    begun = history.begun_since("900.901", 50)
    assert (begun.events, begun.mark) == ((), "0.2")
    assert [event.subject.number for event in history.begun_since(begun.mark, 50).events] == ["1", "2"]


def test_what_lies_too_far_back_is_left_out(history: BuildbotHistory, stand_in: StandIn) -> None:
    """After months without the bot a bounded number of builds is looked at."""
    asked = serve(stand_in, ours(90_000))
    history.begun_since("1.90000", 50)
    assert asked[-1].query["buildid__gt"] == [str(90_000 - MOST_BEHIND)]


def test_a_build_that_cannot_be_read_stops_no_other(history: BuildbotHistory, stand_in: StandIn) -> None:
    """One that is not as documented is passed over, for good."""
    serve(stand_in, ours(5, started_at=None), ours(6))
    begun = history.begun_since("4.6", 50)
    assert [event.subject.number for event in begun.events] == ["6"]
    assert begun.mark == "6.6"


def test_an_empty_buildbot_has_no_history(history: BuildbotHistory, stand_in: StandIn) -> None:
    """A Buildbot that never built anything is no trouble."""
    serve(stand_in)
    assert history.begun_since("", 50).mark == "0.0"


@pytest.mark.parametrize("answer", [(503, {}), (200, {"builds": [{}]}), (200, {"nonsense": []})])
def test_an_answer_that_is_none_is_trouble(
    history: BuildbotHistory, stand_in: StandIn, answer: Answer | Callable[..., Answer]
) -> None:
    """What cannot be understood is tried again, from the same mark."""
    stand_in.answers["GET builds"] = answer
    with pytest.raises(Unavailable):
        history.begun_since("4.5", 50)
