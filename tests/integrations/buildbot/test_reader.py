"""Reading builds, where the real Buildbot's answers are not enough of a challenge."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.builds import BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.subjects import SubjectKey
from bot.errors import DestinationGone, Unavailable
from integrations.buildbot.reader import BuildbotReader
from tests.integrations.buildbot.stand_in import STARTED_AT, StandIn, build, rows

KEY = SubjectKey.parse("build:buildbot/user-service#1")


def step(number: int, name: str, results: int | None = 0, **changed: Any) -> dict[str, Any]:
    """One step as the API writes it."""
    ended = None if results is None else STARTED_AT + number + 1
    times = {"started_at": STARTED_AT + number, "complete_at": ended}
    return {"number": number, "name": name, "results": results, "hidden": False, **times, **changed}


def add_log(stand_in: StandIn, number: int, content: str, **changed: Any) -> None:
    """Give a step of build 1 a log."""
    log = {"logid": number, "name": "stdio", "type": "s", "num_lines": content.count("\n"), **changed}
    stand_in.answers[f"GET builds/1/steps/{number}/logs"] = rows("logs", log)
    stand_in.answers[f"GET logs/{number}/contents"] = rows("logchunks", {"content": content, "firstline": 0})


def test_only_what_the_programs_wrote_is_shown(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Buildbot's own lines, which list the worker's environment, colours and secrets stay out of the excerpt."""
    stand_in.answers["GET builds/1/steps"] = rows("steps", step(0, "checkout"), step(1, "tests", 2))
    lines = [
        "h  DEPLOY_KEY=abc",
        "o\x1b[31mred\x1b[0m and \x1b]8;;http://x\x07link",
        "eAPI_TOKEN=hunter2hunter2",
        "h exit 1",
    ]
    add_log(stand_in, 1, "\n".join([*lines, ""]))
    facts = reader.fetch(KEY, with_log=True).facts
    assert facts.log_excerpt == "red and link\nAPI_TOKEN=[redacted]"


def test_what_is_printed_amid_a_report_does_not_change_it(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Buildbot reads two pipes and keeps the order of each alone: a report is read as the tool wrote it."""
    stand_in.answers["GET builds/1/steps"] = rows("steps", step(1, "tests", 2))
    lines = [
        "eFAIL: test_a (tests.A)",
        f"e{'-' * 70}",
        "eTraceback:",
        "eAssertionError: 1 != 2",
        "odone",
        f"e{'=' * 70}",
    ]
    add_log(stand_in, 1, "\n".join([*lines, ""]))
    facts = reader.fetch(KEY, with_log=True).facts
    assert facts.failed_tests == (FailedTest("tests.A.test_a", "AssertionError: 1 != 2"),)


def test_a_long_log_is_read_from_its_end(reader: BuildbotReader, stand_in: StandIn) -> None:
    """However much a stage wrote, only the lines at the end are transferred, and at most 3,000 characters shown."""
    stand_in.answers["GET builds/1/steps"] = rows("steps", step(1, "tests", 2))
    add_log(stand_in, 1, "".join(f"o{'x' * 4000} {n}\n" for n in range(1500)), num_lines=1_000_000)
    excerpt = reader.fetch(KEY, with_log=True).facts.log_excerpt
    asked = next(call.query for call in stand_in.calls if call.path.endswith("/contents"))
    assert asked == {"offset": ["998500"], "limit": ["1500"]}
    assert excerpt is not None
    assert len(excerpt) <= 3000


def test_a_build_without_a_failed_stage_has_no_excerpt(reader: BuildbotReader, stand_in: StandIn) -> None:
    """A cancelled build shows no log as if it had failed."""
    stand_in.answers["GET builds/1/steps"] = rows("steps", step(1, "tests", 6))
    facts = reader.fetch(KEY, with_log=True).facts
    assert (facts.log_excerpt, facts.failed_tests) == (None, None)


def test_the_log_of_the_last_stage_stands_in_when_none_failed(reader: BuildbotReader, stand_in: StandIn) -> None:
    """`log` of a good build shows the last stage that wrote anything."""
    stand_in.answers["GET builds/1/steps"] = rows(
        "steps", step(1, "tests"), step(2, "package"), step(3, "secret step", hidden=True)
    )
    add_log(stand_in, 1, "oall good\n")
    stand_in.answers["GET builds/1/steps/2/logs"] = rows(
        "logs", {"logid": 2, "name": "page", "type": "h", "num_lines": 9}
    )
    assert reader.read_log(KEY, max_lines=10) == "all good"


def test_stages_are_read_with_times_and_hidden_ones_left_out(reader: BuildbotReader, stand_in: StandIn) -> None:
    """The card lists what people named, each with its result."""
    stand_in.answers["GET builders/user-service/builds/1"] = rows(
        "builds", build(complete=False, complete_at=None, results=None)
    )
    stand_in.answers["GET builds/1/steps"] = rows(
        "steps",
        step(0, "worker_preparation"),
        step(1, "lint", 1),
        step(2, "internal", hidden=True),
        step(3, "tests", None),
        step(4, "deploy", None, started_at=None),
    )
    event = reader.fetch(KEY, with_log=False)
    assert event.facts.stages == (
        Stage("lint", StageStatus.WARNING, 1.0),
        Stage("tests", StageStatus.RUNNING),
        Stage("deploy", StageStatus.PENDING),
    )
    assert event.occurred_at.timestamp() == STARTED_AT + 3


def test_whose_change_it_is_comes_from_the_changes(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Buildbot lists all changes since the last build that passed: author and title are those of the built one."""
    change = {"revision": "b" * 40, "author": "陈伟 <chen.wei@example.com>", "comments": "头像：缩小图片\n\nLong story"}
    newer = {"revision": "c" * 40, "author": "Bob", "comments": "newer"}
    older = {"revision": "a" * 40, "author": "Ada", "comments": "older"}
    stand_in.answers["GET builds/1/changes"] = rows("changes", newer, change, older)
    built = {"got_revision": ["b" * 40, "Git"]}
    stand_in.answers["GET builders/user-service/builds/1"] = rows("builds", build(properties=built))
    facts = reader.fetch(KEY, with_log=True).facts
    assert (facts.author, facts.commit_title) == ("陈伟", "头像：缩小图片")


def test_without_a_known_revision_the_newest_change_is_shown(reader: BuildbotReader, stand_in: StandIn) -> None:
    """A build that has not checked out yet, or whose revision is no change's, is the newest one's: Buildbot's first."""
    changes = [{"author": name, "comments": name} for name in ("Newest", "Older")]
    stand_in.answers["GET builds/1/changes"] = rows("changes", *changes)
    facts = reader.fetch(KEY, with_log=True).facts
    assert (facts.author, facts.commit_title) == ("Newest", "Newest")


def test_a_rebuild_is_not_said_to_be_asked_for_by_the_first_asker(reader: BuildbotReader, stand_in: StandIn) -> None:
    """A rebuild copies the words of the run it repeats; they name nobody any more."""
    forced = {"owner": ["bot", "Force Build Form"], "reason": ["Ada via Shipmate (01ABC)", "Force Build Form"]}
    stand_in.answers["GET builders/user-service/builds/1"] = rows("builds", build(properties=forced))
    assert reader.fetch(KEY, with_log=True).facts.triggered_by == "Ada"
    stand_in.answers["GET buildsets/1"] = rows("buildsets", {"bsid": 1, "reason": "rebuild", "rebuilt_buildid": 9})
    assert reader.fetch(KEY, with_log=True).facts.triggered_by is None


def test_links_lead_to_the_address_that_people_use(reader: BuildbotReader, stand_in: StandIn) -> None:
    """The bot may reach Buildbot by an inner address; cards link to the outer one, asked for once."""
    for _ in range(2):
        assert reader.fetch(KEY, with_log=False).facts.url == "https://ci.example.com/#/builders/1/builds/1"
    assert stand_in.paths("GET").count("/config") == 1


def test_without_a_known_outer_address_the_configured_one_is_used(reader: BuildbotReader, stand_in: StandIn) -> None:
    """An older Buildbot does not tell its address."""
    del stand_in.answers["GET /config"]
    assert reader.fetch(KEY, with_log=False).facts.url == "http://buildbot.example.com/#/builders/1/builds/1"


def test_a_builder_that_never_was_is_not_an_empty_list(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Buildbot answers 200 and no builds for any name; the person hears that the builder does not exist."""
    stand_in.answers["GET builders/user-service/builds"] = rows("builds")
    assert list(reader.list_builds("user-service", 5)) == []
    del stand_in.answers["GET builders/user-service"]
    with pytest.raises(DestinationGone, match="no builder user-service"):
        reader.list_builds("user-service", 5)


def test_listed_builds_are_builds(reader: BuildbotReader, stand_in: StandIn) -> None:
    """The list asks for no more than 100 and shows each build's state."""
    stand_in.answers["GET builders/user-service/builds"] = rows(
        "builds", build(2, complete=False, complete_at=None, results=None), build(1)
    )
    running, failed = reader.list_builds("user-service", 1000)
    assert (running.key.number, running.phase, running.status) == ("2", Phase.RUNNING, BuildStatus.RUNNING)
    assert (failed.key.number, failed.phase, failed.status) == ("1", Phase.FINISHED, BuildStatus.FAILED)
    assert stand_in.calls[0].query["limit"] == ["100"]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("builders/user-service/builds/1", rows("builds", build(started_at="yesterday"))),
        ("builders/user-service/builds/1", rows("builds", build(complete="yes"))),
        ("builds/1/steps", rows("steps", {"number": 1, "name": 7})),
        ("buildrequests/1", rows("buildrequests", {"buildsetid": "1"})),
        ("buildsets/1", rows("buildsets", {"sourcestamps": [{"branch": 5}]})),
    ],
)
def test_an_answer_of_another_shape_is_no_crash(
    reader: BuildbotReader, stand_in: StandIn, path: str, answer: Any
) -> None:
    """What is not as documented is an error that names the field."""
    stand_in.answers[f"GET {path}"] = answer
    with pytest.raises(Unavailable) as caught:
        reader.fetch(KEY, with_log=True)
    assert caught.value.reason == "bad_answer"
    assert caught.value.detail


@pytest.mark.parametrize("number", ["1/../../x", "-1", "1e3", "٣", "9" * 16, ""])
def test_a_number_that_is_none_is_not_asked_for(reader: BuildbotReader, stand_in: StandIn, number: str) -> None:
    """Whatever a person types after # goes into no address unless it is a number."""
    key = SubjectKey(KEY.kind, KEY.source, KEY.project, number)
    with pytest.raises(DestinationGone):
        reader.fetch(key, with_log=False)
    assert stand_in.calls == []
