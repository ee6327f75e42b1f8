"""Retry, run, cancel and reconciling, where a real Buildbot cannot be brought into the state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.subjects import SubjectKey
from bot.errors import Conflict, DestinationGone, IntegrationError, OutcomeUnknown, Rejected
from bot.ports import Triggered
from integrations.buildbot import control as control_module
from integrations.buildbot.control import BuildbotControl
from tests.integrations.buildbot.stand_in import (
    NOW,
    STARTED_AT,
    Answer,
    Call,
    StandIn,
    build,
    field_of,
    living_builder,
    rows,
    scheduler,
)

KEY = SubjectKey.parse("build:buildbot/user-service#1")


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "SECOND_LOOK_S", 0.0)
    monkeypatch.setattr(control_module, "RE_READ_S", 0.0)


def run(control: BuildbotControl, **parameters: str) -> Triggered:
    """Start user-service for Ada."""
    return control.run("user-service", parameters, correlation="01ABC", asked_by="Ada")


# --- what vanished


@pytest.mark.parametrize(
    ("answer", "words"),
    [(living_builder(masterids=[]), "taken away"), ((404, {"error": "not found"}), "no builder user-service")],
)
def test_a_vanished_builder_is_not_asked_to_build(
    control: BuildbotControl, stand_in: StandIn, answer: Answer, words: str
) -> None:
    """Buildbot would queue the request for ever; the person is told that the builder is gone, and nothing is sent."""
    stand_in.answers["GET builders/user-service"] = answer
    asks: list[Callable[[], Triggered]] = [
        lambda: run(control),
        lambda: control.retry(KEY, correlation="01ABC", asked_by="Ada"),
    ]
    for ask in asks:
        with pytest.raises(DestinationGone) as caught:
            ask()
        assert caught.value.reason == "builder_gone"
        assert words in caught.value.detail
    assert stand_in.paths("POST") == []


def test_a_build_that_vanished_with_its_builder_is_told_apart(control: BuildbotControl, stand_in: StandIn) -> None:
    """An unknown number of a living builder is not blamed on the builder."""
    del stand_in.answers["GET builders/user-service/builds/1"]
    with pytest.raises(DestinationGone, match="no_such_build"):
        control.retry(KEY, correlation="01ABC", asked_by="Ada")
    del stand_in.answers["GET builders/user-service"]
    with pytest.raises(DestinationGone, match="builder_gone"):
        control.retry(KEY, correlation="01ABC", asked_by="Ada")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((404, {"error": "not found"}), DestinationGone, "no force scheduler force"),
        (scheduler(builder_names=["other"]), Rejected, "does not start user-service"),
        (scheduler(enabled=False), Conflict, "switched off"),
        (scheduler(field_of("reason", "fixed")), Rejected, "takes no reason"),
        (scheduler(field_of("version")), Rejected, "takes no reason"),
    ],
)
def test_a_run_needs_a_fitting_force_scheduler(
    control: BuildbotControl, stand_in: StandIn, answer: Answer, error: type[Exception], words: str
) -> None:
    """What stands in the way is named, and nothing is sent."""
    stand_in.answers["GET forceschedulers/force"] = answer
    with pytest.raises(error, match=words):
        run(control)
    assert stand_in.paths("POST") == []


# --- what is sent


def test_a_run_names_its_builder_its_asker_and_itself(control: BuildbotControl, stand_in: StandIn) -> None:
    """Without its builder's id a force scheduler would start all of its builders."""
    stand_in.answers["GET forceschedulers/force"] = scheduler(
        field_of("reason"), field_of("version"), field_of("shipmate_command")
    )
    assert run(control, version="1.2") == Triggered("2")
    sent = next(call.body for call in stand_in.calls if call.method == "POST")
    assert sent["method"] == "force"
    assert sent["params"] == {
        "builderid": "7",
        "reason": "Ada via Shipmate (01ABC)",
        "version": "1.2",
        "shipmate_command": "01ABC",
    }


@pytest.mark.parametrize("name", ["builderid", "reason", "owner", "builderNames", "shipmate_command", "fixed"])
def test_parameters_of_the_bot_cannot_be_given_by_a_person(
    control: BuildbotControl, stand_in: StandIn, name: str
) -> None:
    """Nobody starts another project's builder, or forges who asked, by a parameter."""
    stand_in.answers["GET forceschedulers/force"] = scheduler(
        field_of("reason"), field_of("shipmate_command"), field_of("fixed", "fixed")
    )
    with pytest.raises(Rejected, match=name):
        run(control, **{name: "2"})
    assert stand_in.paths("POST") == []


@pytest.mark.parametrize("result", [None, [2, {}], [2, {"7": 2, "8": 3}], "yes", [None, None]])
def test_an_answer_without_one_request_is_in_doubt(control: BuildbotControl, stand_in: StandIn, result: Any) -> None:
    """200 alone is no success."""
    stand_in.answers["POST builds/1"] = (200, {"result": result})
    with pytest.raises(OutcomeUnknown):
        control.retry(KEY, correlation="01ABC", asked_by="Ada")


# --- cancel


def test_a_build_that_does_not_stop_is_in_doubt(
    control: BuildbotControl, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buildbot's 200 says nothing: a build that goes on is not reported as cancelled."""
    monkeypatch.setattr(control_module, "WAITS_UNTIL_LEFT_S", 7.8)
    stand_in.answers["GET builders/user-service/builds/1"] = rows(
        "builds", build(complete=False, complete_at=None, results=None)
    )
    stand_in.answers["POST builds/1"] = (200, {"result": None})
    with pytest.raises(OutcomeUnknown, match="still_running"):
        control.cancel(KEY, asked_by="Ada")


def test_a_build_that_ended_by_itself_meanwhile_was_not_cancelled(control: BuildbotControl, stand_in: StandIn) -> None:
    """A build that passes just before the stop arrives is not called cancelled."""
    states = iter([build(complete=False, complete_at=None, results=None), build(results=0)])
    stand_in.answers["GET builders/user-service/builds/1"] = lambda _: rows("builds", next(states))
    stand_in.answers["POST builds/1"] = (200, {"result": None})
    assert control.cancel(KEY, asked_by="Ada") is False


def test_a_repeated_cancel_sees_that_the_first_one_worked(control: BuildbotControl, stand_in: StandIn) -> None:
    """After a lost answer the second try says `cancelled`, not `had ended already`."""
    ended = build(results=6, state_string="cancelled (asked by Ada) compile (cancelled)")
    stand_in.answers["GET builders/user-service/builds/1"] = rows("builds", ended)
    assert control.cancel(KEY, asked_by="Ada") is True
    assert control.cancel(KEY, asked_by="Bo") is False
    assert stand_in.paths("POST") == []


# --- finding a run whose answer was lost


def buildset(bsid: int, submitted_at: float, **changed: Any) -> dict[str, Any]:
    """A rebuild of build 1."""
    return {"bsid": bsid, "reason": "rebuild", "rebuilt_buildid": 1, "submitted_at": int(submitted_at), **changed}


def answer_with(stand_in: StandIn, *buildsets: dict[str, Any]) -> None:
    """Let Buildbot know these buildsets, with requests and builds of the same numbers."""
    stand_in.answers["GET buildsets"] = rows("buildsets", *buildsets)

    def request(call: Call) -> Answer:
        return rows("buildrequests", {"buildrequestid": int(call.query["buildsetid"][0]), "complete": False})

    stand_in.answers["GET buildrequests"] = request
    for row in buildsets:
        stand_in.answers[f"GET buildrequests/{row['bsid']}/builds"] = rows("builds", build(row["bsid"] + 100))


@pytest.mark.parametrize("lead_s", [-3600, 0, 3600])
def test_clocks_that_disagree_do_not_hide_a_retry(control: BuildbotControl, stand_in: StandIn, lead_s: int) -> None:
    """Whether the bot's clock is an hour ahead of Buildbot's or behind it, an earlier rebuild is not taken for ours."""
    theirs = NOW + timedelta(seconds=lead_s)
    stand_in.date = theirs
    answer_with(
        stand_in,
        buildset(5, theirs.timestamp() - 60),
        buildset(6, theirs.timestamp() - 20),
        buildset(7, theirs.timestamp() - 5),
    )
    since = NOW - timedelta(seconds=20)
    found = control.find_run("user-service", correlation="01ABC", since=since, retried=KEY)
    assert found == Triggered("6", SubjectKey.parse("build:buildbot/user-service#106"))


def test_only_rebuilds_newer_than_the_build_itself_count(control: BuildbotControl, stand_in: StandIn) -> None:
    """Buildbot's own numbers, which no clock can confuse, bound what can be ours."""
    answer_with(stand_in, buildset(5, NOW.timestamp()))
    control.find_run("user-service", correlation="01ABC", since=NOW, retried=KEY)
    [asked] = [call.query for call in stand_in.calls if call.path.endswith("/buildsets")]
    assert asked == {"rebuilt_buildid": ["1"], "bsid__gt": ["1"], "order": ["bsid"]}


def test_a_rebuild_of_a_rebuild_is_found_by_the_first_build(control: BuildbotControl, stand_in: StandIn) -> None:
    """Buildbot notes the root of a chain of rebuilds, not the build that was clicked."""
    stand_in.answers["GET buildsets/1"] = rows("buildsets", buildset(1, STARTED_AT, rebuilt_buildid=40))
    answer_with(stand_in, buildset(5, NOW.timestamp(), rebuilt_buildid=40))
    found = control.find_run("user-service", correlation="01ABC", since=NOW, retried=KEY)
    assert found is not None
    assert next(call.query for call in stand_in.calls if call.path.endswith("/buildsets"))["rebuilt_buildid"] == ["40"]


def test_a_build_made_twice_by_a_lost_worker_is_looked_for_by_both(control: BuildbotControl, stand_in: StandIn) -> None:
    """A rebuild names the request's first build, which is not the one people see."""
    stand_in.answers["GET buildrequests/1/builds"] = rows("builds", build(40, results=5), build(1))
    answer_with(stand_in, buildset(5, NOW.timestamp(), rebuilt_buildid=40))
    control.find_run("user-service", correlation="01ABC", since=NOW, retried=KEY)
    asked = next(call.query for call in stand_in.calls if call.path.endswith("/buildsets"))
    assert asked["rebuilt_buildid"] == ["40", "1"]


def test_without_a_date_a_wider_window_is_used(control: BuildbotControl, stand_in: StandIn) -> None:
    """A proxy that drops the Date header makes the bot careful: rather a build too few than one too many."""
    stand_in.date = None
    answer_with(stand_in, buildset(5, NOW.timestamp() - 30))
    assert control.find_run("user-service", correlation="01ABC", since=NOW, retried=KEY) is not None


def test_a_run_is_found_by_its_own_words_alone(control: BuildbotControl, stand_in: StandIn) -> None:
    """A longer id that contains ours is somebody else's, and so is one in the name of who asked."""
    answer_with(
        stand_in,
        buildset(3, STARTED_AT, reason="A build was forced by 'bot': Eve (01ABC) via Shipmate (01XYZ)"),
        buildset(4, STARTED_AT, reason="A build was forced by 'bot': Eve via Shipmate (01ABC) via Shipmate (01XYZ)"),
        buildset(5, STARTED_AT, reason="A build was forced by 'bot': Bo via Shipmate (01ABCDEF)"),
        buildset(6, STARTED_AT, reason="A build was forced by 'bot': Ada via Shipmate (01ABC)"),
    )
    found = control.find_run("user-service", correlation="01ABC", since=NOW, retried=None)
    assert found == Triggered("6", SubjectKey.parse("build:buildbot/user-service#106"))


def test_a_call_still_in_buildbots_hands_is_waited_for(control: BuildbotControl, stand_in: StandIn) -> None:
    """Buildbot may store the request just after the first look."""
    looks = iter([rows("buildsets"), rows("buildsets", buildset(5, NOW.timestamp()))])
    answer_with(stand_in, buildset(5, NOW.timestamp()))
    stand_in.answers["GET buildsets"] = lambda _: next(looks)
    assert control.find_run("user-service", correlation="01ABC", since=NOW, retried=KEY) is not None


# --- following a request


def request(number: int, **changed: Any) -> dict[str, Any]:
    """A request of user-service that waits."""
    return {"buildrequestid": number, "builderid": 7, "complete": False, **changed}


def test_a_waiting_request_has_no_build_yet(control: BuildbotControl, stand_in: StandIn) -> None:
    """Every worker is busy: there is nothing to show, and nothing has failed."""
    stand_in.answers["GET buildrequests/9"] = rows("buildrequests", request(9))
    stand_in.answers["GET buildrequests/9/builds"] = rows("builds")
    assert control.follow("user-service", "9") is None


@pytest.mark.parametrize(("results", "reason"), [(6, "request_cancelled"), (3, "request_superseded")])
def test_a_request_that_ended_without_a_build_is_dropped(
    control: BuildbotControl, stand_in: StandIn, results: int, reason: str
) -> None:
    """Cancelled in the queue, or collapsed into another request: nobody waits for ever."""
    row = request(9, complete=True, results=results)
    stand_in.answers["GET buildrequests/9"] = rows("buildrequests", row)
    stand_in.answers["GET buildrequests/9/builds"] = rows("builds")
    with pytest.raises(DestinationGone) as caught:
        control.follow("user-service", "9")
    assert caught.value.reason == reason


@pytest.mark.parametrize(("is_over", "results", "is_there"), [(False, 5, False), (True, 5, True), (False, None, True)])
def test_a_request_whose_worker_was_lost_waits_again(
    control: BuildbotControl, stand_in: StandIn, is_over: bool, results: int | None, is_there: bool
) -> None:
    """Buildbot builds it once more under a new number, unless somebody cancels it before."""
    stand_in.answers["GET buildrequests/9"] = rows("buildrequests", request(9, complete=is_over))
    stand_in.answers["GET buildrequests/9/builds"] = rows("builds", build(40, results=results))
    assert (control.follow("user-service", "9") is not None) == is_there


def test_a_request_of_another_builder_is_not_followed(control: BuildbotControl, stand_in: StandIn) -> None:
    """The project names another builder by now: a build of the same number there is somebody else's."""
    stand_in.answers["GET buildrequests/9"] = rows("buildrequests", request(9, builderid=8))
    stand_in.answers["GET buildrequests/9/builds"] = rows("builds", build(1))
    asks: list[Callable[[], object]] = [
        lambda: control.follow("user-service", "9"),
        lambda: control.withdraw("user-service", "9", asked_by="Ada"),
    ]
    for ask in asks:
        with pytest.raises(DestinationGone) as caught:
            ask()
        assert caught.value.reason == "other_builder"
    assert stand_in.paths("POST") == []


@pytest.mark.parametrize(
    ("said", "is_ours"),
    [
        ("Ada via Shipmate (01ABC)", True),
        ("Forced: via Shipmate (01ABC), on the page", True),
        ("Bo (01ABCD)", False),
        ("Eve via Shipmate (01ABC) via Shipmate (01XYZ)", False),
    ],
)
def test_a_request_of_that_number_that_is_not_ours_is_not_followed(
    control: BuildbotControl, stand_in: StandIn, said: str, is_ours: bool
) -> None:
    """The address is that of another Buildbot by now: it counts its requests from 1 as well."""
    stand_in.answers["GET buildrequests/9"] = rows("buildrequests", request(9, buildsetid=5))
    stand_in.answers["GET buildsets/5"] = rows("buildsets", buildset(5, STARTED_AT, reason=said))
    stand_in.answers["GET buildrequests/9/builds"] = rows("builds", build(1))
    if is_ours:
        assert control.follow("user-service", "9", correlation="01ABC") is not None
        return
    with pytest.raises(DestinationGone) as caught:
        control.follow("user-service", "9", correlation="01ABC")
    assert caught.value.reason == "other_request"


# --- taking a request back


def test_a_waiting_request_is_cancelled(control: BuildbotControl, stand_in: StandIn) -> None:
    """Buildbot is told which one, and who asked."""
    stand_in.answers["GET buildrequests/9"] = rows("buildrequests", request(9))
    stand_in.answers["POST buildrequests/9"] = (200, {"result": None})
    control.withdraw("user-service", "9", asked_by="Ada")
    [sent] = [call.body for call in stand_in.calls if call.method == "POST" and call.path.endswith("buildrequests/9")]
    assert (sent["method"], sent["params"]) == ("cancel", {"reason": "asked by Ada"})


@pytest.mark.parametrize("request_id", ["x", "../builders", "9?x=1", ""])
def test_a_forged_request_id_reaches_no_other_path(
    control: BuildbotControl, stand_in: StandIn, request_id: str
) -> None:
    """Ids are data, never parts of a path."""
    with pytest.raises(IntegrationError):
        control.follow("user-service", request_id)
    assert all("builders" not in path or "%2F" in path for path in stand_in.paths("GET"))
