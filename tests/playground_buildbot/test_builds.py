"""The sample project, built by a real Buildbot: what the demo shows and what scenarios rely on."""

import json
import time
from contextlib import closing
from typing import Any

import pytest
import requests

from bot.domain.deployments import Version
from bot.ports import Between, Commit
from integrations.buildbot.api import BuildbotApi
from integrations.buildbot.config import Config
from integrations.buildbot.reader import BuildbotReader
from integrations.transport import open_session
from playground.repository import CHEN_WEI
from tests.buildbot_server import BuildbotServer, Relay, wait_for

pytestmark = pytest.mark.buildbot

SUCCESS, FAILURE, CANCELLED = 0, 2, 6


def pushes_of(relay: Relay, build_id: int) -> list[dict[str, Any]]:
    """Return the bodies of the webhooks about one build, in order."""
    bodies = [json.loads(push.body) for push in relay.pushes]
    return [body for body in bodies if body["buildid"] == build_id]


def build_of_revision(server: BuildbotServer, revision: str) -> dict[str, Any]:
    """Return the build that a pushed commit started."""

    def find() -> list[dict[str, Any]]:
        builds = server.read("builds?property=revision&order=-buildid")["builds"]
        return [build for build in builds if build["properties"].get("revision", [None])[0] == revision]

    return wait_for(find, f"a build of {revision}")[0]


def test_the_first_build_fails_on_the_cold_cache_and_its_rebuild_passes(buildbot_server: BuildbotServer) -> None:
    """A person sees one test fail with its traceback, presses Retry, and sees everything pass."""
    buildbot_server.forget_cache()
    first = buildbot_server.finished(buildbot_server.force("user-service")["buildid"])
    assert first["results"] == FAILURE
    assert list(buildbot_server.steps(first["buildid"])) == ["worker_preparation", "checkout", "install", "unit tests"]
    log = buildbot_server.log(first["buildid"], "unit tests")
    assert "eFAIL: test_known_person_has_a_display_name (tests.test_profiles.ProfileTest." in log
    assert "eTraceback (most recent call last):\n" in log
    assert "eFAILED (failures=1)\n" in log
    again = buildbot_server.finished(buildbot_server.rebuild(first["buildid"])["buildid"])
    assert again["results"] == SUCCESS
    assert list(buildbot_server.steps(again["buildid"]))[-1] == "package"


def test_a_push_is_built_under_its_authors_name(buildbot_server: BuildbotServer) -> None:
    """A commit by 陈伟 on a feature branch is built at once, with branch, revision, author and subject."""
    revision = buildbot_server.running.paths.repository.push(
        "头像：缩小图片", author=CHEN_WEI, branch="feature/avatars"
    )
    build = buildbot_server.finished(build_of_revision(buildbot_server, revision)["buildid"])
    assert build["properties"]["branch"][0] == "feature/avatars"
    assert build["properties"]["got_revision"][0] == revision
    assert build["properties"]["owners"][0] == ["陈伟 <chen.wei@example.com>"]
    changes = buildbot_server.read(f"builds/{build['buildid']}/changes")["changes"]  # all since the last good build
    [change] = [one for one in changes if one["revision"] == revision]
    assert (change["author"], change["comments"]) == ("陈伟 <chen.wei@example.com>", "头像：缩小图片")
    assert change["files"] == ["CHANGES.md"]


def test_what_came_between_two_builds_is_read_from_the_changes(buildbot_server: BuildbotServer) -> None:
    """What was pushed to the branch after the first one, with author and title, as soon as its build has begun."""
    repository = buildbot_server.running.paths.repository
    pushed = [repository.push(title, author=CHEN_WEI, branch="main") for title in ("First", "Second")]
    builds = [build_of_revision(buildbot_server, revision) for revision in pushed]
    versions = [Version("x", "", f"build:buildbot/user-service#{build['number']}") for build in builds]
    with closing(open_session()) as session:
        config = Config(url=buildbot_server.url, webhook_token=buildbot_server.bot_token)
        reader = BuildbotReader("buildbot", config, BuildbotApi(session, config.url, None, None))
        told = reader.between("user-service", versions[0], versions[1], 100)
    assert told == Between((Commit(pushed[1], "Second", "陈伟"),), (), "main")


def test_the_feature_branch_stays_broken(buildbot_server: BuildbotServer) -> None:
    """A retry does not help where the code is wrong: the same tests fail again."""
    first = buildbot_server.force("user-service", branch="feature/avatars")
    again = buildbot_server.rebuild(buildbot_server.finished(first["buildid"])["buildid"])
    assert buildbot_server.finished(again["buildid"])["results"] == FAILURE
    log = buildbot_server.log(again["buildid"], "unit tests")
    assert "eERROR: test_jpeg_is_accepted (tests.test_avatars.AvatarTest.test_jpeg_is_accepted)\n" in log


def test_start_and_end_are_pushed_with_the_shared_secret(buildbot_server: BuildbotServer) -> None:
    """The bot hears of both ends of a build, can tell who sends, and gets the steps."""
    build = buildbot_server.finished(buildbot_server.force("user-service", version="1.4.0")["buildid"])
    relay = buildbot_server.relay
    wait_for(lambda: len(pushes_of(relay, build["buildid"])) == 2, "two pushes")
    started, ended = pushes_of(relay, build["buildid"])
    assert (started["complete"], started["results"]) == (False, None)
    assert (ended["complete"], ended["results"]) == (True, build["results"])
    assert ended["properties"]["version"] == ["1.4.0", "Force Build Form"]
    assert [step["name"] for step in ended["steps"]][:4] == ["worker_preparation", "checkout", "install", "unit tests"]
    assert {(push.path, push.headers["X-Bot-Token"]) for push in relay.pushes} == {
        ("/webhooks/buildbot", buildbot_server.bot_token)
    }


def test_a_cancelled_build_is_pushed_too(buildbot_server: BuildbotServer) -> None:
    """Cancel ends slow-service in the middle of a step, says why, and tells the bot."""
    build_id = buildbot_server.force("slow-service")["buildid"]
    wait_for(lambda: buildbot_server.steps(build_id).get("compile", {}).get("started_at"), "the step compile")
    buildbot_server.control(f"builds/{build_id}", "stop", reason="cancelled by 张敏")
    build = buildbot_server.finished(build_id)
    assert build["results"] == CANCELLED
    assert "cancelled by 张敏" in build["state_string"]
    wait_for(lambda: len(pushes_of(buildbot_server.relay, build_id)) == 2, "two pushes")
    assert pushes_of(buildbot_server.relay, build_id)[-1]["results"] == CANCELLED
    assert "package" not in buildbot_server.steps(build_id)


def _steps_from(server: BuildbotServer, build_id: int, name: str) -> dict[str, Any]:
    """The steps of a build as they are seen when this one is there, too; none before."""
    seen = server.steps(build_id)
    return seen if name in seen else {}


def test_slow_service_shows_its_steps_one_after_the_other(buildbot_server: BuildbotServer) -> None:
    """While slow-service is being built, its steps appear one by one, each with output."""
    build_id = buildbot_server.force("slow-service")["buildid"]
    steps = wait_for(lambda: _steps_from(buildbot_server, build_id, "unit tests"), "the second step")
    assert steps["compile"]["complete"] is True
    assert "package" not in steps
    assert buildbot_server.finished(build_id)["results"] == SUCCESS
    assert list(buildbot_server.steps(build_id))[1:] == [
        "checkout",
        "compile",
        "unit tests",
        "integration tests",
        "package",
    ]
    assert "o[3/5] pay\n" in buildbot_server.log(build_id, "integration tests")


def test_a_forced_build_can_be_found_by_its_correlation_id(buildbot_server: BuildbotServer) -> None:
    """Who lost the answer to a force finds the build request by the id put into it."""
    build = buildbot_server.force("user-service", shipmate_command="command-4711", reason="王蕾 asked")
    path = "buildrequests?property=shipmate_command&order=-buildrequestid"
    found = [
        request["buildrequestid"]
        for request in buildbot_server.read(path)["buildrequests"]
        if request["properties"].get("shipmate_command", [""])[0] == "command-4711"
    ]
    assert found == [build["buildrequestid"]]
    assert buildbot_server.finished(build["buildid"])["properties"]["reason"][0] == "王蕾 asked"


def test_forced_builds_are_not_merged(buildbot_server: BuildbotServer) -> None:
    """Two requests while a build runs stay two builds."""
    running = buildbot_server.force("slow-service")["buildid"]
    asked = []
    for version in ("1.0.0", "1.0.1"):
        builder_id = buildbot_server.read(f"builds/{running}")["builds"][0]["builderid"]
        _, made = buildbot_server.control("forceschedulers/force", "force", builderid=str(builder_id), version=version)
        asked.append(made[str(builder_id)])
    buildbot_server.control(f"builds/{running}", "stop", reason="make room")
    versions = []
    for request in asked:
        build_id = buildbot_server.build_of_request(request)["buildid"]
        buildbot_server.control(f"builds/{build_id}", "stop", reason="seen")
        versions.append(buildbot_server.finished(build_id)["properties"]["version"][0])
    assert versions == ["1.0.0", "1.0.1"]


def test_looking_is_free_and_control_needs_the_user(buildbot_server: BuildbotServer) -> None:
    """Without a login builds can be read and nothing can be started; a wrong password is refused."""
    before = time.time()
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{buildbot_server.url}/api/v2/builders", timeout=30).status_code == 200
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"reason": "nobody"}}
        refused = session.post(f"{buildbot_server.url}/api/v2/forceschedulers/force", json=call, timeout=30)
        assert refused.status_code == 403
        login = session.get(f"{buildbot_server.url}/auth/login", auth=("admin", "wrong"), timeout=30)
        assert login.status_code == 401
    asked = buildbot_server.read(f"buildsets?submitted_at__ge={int(before)}")["buildsets"]
    assert not [buildset for buildset in asked if "nobody" in buildset["reason"]]
