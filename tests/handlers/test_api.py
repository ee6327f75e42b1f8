"""The API: signed requests in, commands and answers out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from bot.domain.deployments import DeploymentState
from bot.domain.identity import Role
from bot.signatures import key_of, sign
from bot.system import SystemClock
from handlers.api import api
from handlers.web import create_app
from tests.handlers.serving import serve
from tests.services.deployment_world import ROLES, SERVICE, Stage, a_service, a_stage
from tests.stores import SqlStore

SECRET = "whsec_dGhlLXJlbGVhc2UtdHJhaW5zLW93bi1zZWNyZXQ="  # opens nothing but this test's door
WISH = {"service": SERVICE, "environment": "staging", "version": "v1"}


class Program:
    """A client of the API, and the stage behind it."""

    def __init__(self, stage: Stage) -> None:
        world = stage.world
        keys = {"train": [key_of(SECRET)]}
        places = {SERVICE: ["staging", "production"]}
        door = api(keys, places, world.inbox, world.store, world.house.answers, world.clock)
        self.client: FlaskClient = create_app([door], lambda: None).test_client()
        self.stage = stage

    def post(self, body: object, name: str = "msg_1", **headers: str) -> TestResponse:
        """Ask for a deployment."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post("/api/train/deployments", data=raw, headers={**self.signed(raw, name), **headers})

    def get(self, path: str, name: str = "msg_2") -> Any:
        """Ask about something."""
        answer = self.client.get(f"/api/train/{path}", headers=self.signed(b"", name))
        return answer.json if answer.status_code == 200 else answer.status_code

    def signed(self, body: bytes, name: str) -> Mapping[str, str]:
        """The three headers."""
        at = int(self.stage.world.clock.now().timestamp())
        signature = sign(SECRET, name, at, body)
        return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature}


@pytest.fixture
def program(sqlite_store: SqlStore, sqlite_database: Engine) -> Program:
    """A client that may deploy to staging."""
    stage = a_stage(sqlite_store, sqlite_database)
    role = Role("trains", frozenset({"api:train"}), frozenset({"deploy"}), environments=("staging",))
    stage.world.house.requests.people.roles = (*ROLES, role)
    stage.build("v1")
    return Program(stage)


def test_a_program_deploys_and_looks(program: Program) -> None:
    """202 at once, then a deployment that nobody had to confirm, and its end."""
    answer = program.post({**WISH, "reason": "train 12\nis leaving"})
    assert (answer.status_code, answer.json) == (202, {"request": "msg_1", "status": "accepted"})
    assert program.stage.runs() == []
    program.stage.world.work()
    assert program.get("requests/msg_1") == {"state": "done", "deployment": 1, "reason": None, "words": None}
    program.stage.go_on()
    program.stage.run_ends()
    shown = program.get("deployments/1")
    assert (shown["state"], shown["version"], shown["approvals_needed"]) == ("succeeded", "v1", 0)
    assert (shown["reason"], shown["outcome"], shown["words"]) == ("train 12 is leaving", None, None)
    assert program.stage.deployment().reason == "train 12 is leaving"
    assert program.stage.deployment().requester.account == "api:train"
    [figures] = program.get("dora?service=user-service")
    assert figures["succeeded"] == 1


def test_the_same_request_twice_is_one_deployment(program: Program) -> None:
    """A program that got no answer sends it again under the same id."""
    assert program.post(WISH).status_code == 202
    assert program.post(WISH).status_code == 200
    program.stage.world.work()
    assert program.stage.newest() == 1


def test_what_its_role_does_not_cover_is_refused(program: Program) -> None:
    """Production is not its business: refused when it runs, and on the record."""
    program.post({**WISH, "environment": "production"})
    program.stage.world.work()
    told = program.get("requests/msg_1")
    assert (told["state"], told["deployment"], told["reason"]) == ("refused", None, "not_granted")
    assert "do not allow" in told["words"]
    assert program.stage.world.trail()[-1][0] == "api:train"


def test_a_request_that_came_to_nothing_says_why(program: Program) -> None:
    """A version that nobody knows, and an order that is not kept: a word for the program, a sentence for its people."""
    roles = program.stage.world.house.requests.people.roles
    everywhere = Role("trains", frozenset({"api:train"}), frozenset({"deploy"}))
    program.stage.world.house.requests.people.roles = (*roles[:-1], everywhere)
    program.post({**WISH, "version": "v99"}, "unknown")
    program.stage.world.work()
    told = program.get("requests/unknown")
    assert (told["state"], told["reason"]) == ("refused", "unknown_version")
    assert told["words"] == "I know no such version. The newest good build is: v1 (build:user-service#1)"
    house = program.stage.world.house
    services = {SERVICE: a_service(after="staging")}
    program.stage.restart(services, (*roles[:-1], everywhere))
    assert house is not program.stage.world.house
    again = Program(program.stage)
    again.post({**WISH, "environment": "production"}, "early")
    again.stage.world.work()
    told = again.get("requests/early")
    assert (told["state"], told["reason"]) == ("failed", "conflict")
    assert told["words"] == "v1 has to succeed in staging first."


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({**WISH, "service": "user-servise"}, "service: 'user-servise' is no service: did you mean user-service?"),
        (
            {**WISH, "environment": "here"},
            "environment: user-service is not deployed to 'here': there are production, staging",
        ),
        ({**WISH, "reson": "x"}, "reson: is no known field: did you mean reason?"),
        ({"service": SERVICE}, "environment: is missing; version: is missing"),
        ({**WISH, "version": "v1 v2"}, "version: must be one word of up to 100 characters"),
    ],
)
def test_what_cannot_be_is_said_at_once(program: Program, wish: object, words: str) -> None:
    """400 with the place and what there is instead, and nothing is stored."""
    answer = program.post(wish)
    assert (answer.status_code, answer.json) == (400, {"error": words})
    program.stage.world.work()
    assert program.stage.world.states() == []


def test_an_address_that_is_none_is_answered_in_json(program: Program) -> None:
    """A program that mistypes a path, or takes the wrong method, need not read HTML; other doors are left alone."""
    nowhere, wrong = program.client.get("/api/train/deploys"), program.client.put("/api/train/deployments")
    assert (nowhere.status_code, nowhere.json) == (404, {"error": "not found"})
    assert (wrong.status_code, wrong.json) == (405, {"error": "method not allowed"})
    assert wrong.headers["Allow"]
    assert program.client.get("/elsewhere").mimetype == "text/html"


def test_approvals_hold_for_programs_too(program: Program) -> None:
    """It waits for approval as if a person had asked and confirmed."""
    roles = program.stage.world.house.requests.people.roles
    everywhere = Role("trains", frozenset({"api:train"}), frozenset({"deploy"}))
    program.stage.world.house.requests.people.roles = (*roles[:-1], everywhere)
    program.post({**WISH, "environment": "production"})
    program.stage.world.work()
    assert program.stage.state() is DeploymentState.AWAITING_APPROVAL


def test_a_program_sees_approvals_that_count_no_more(program: Program) -> None:
    """When and why, and nothing of whose they were."""
    stage = program.stage
    stage.world.house.requests.people.roles = (
        Role("trains", frozenset({"api:train"}), frozenset({"deploy"})),
        Role("release", frozenset({"slack:U2", "slack:U3"}), frozenset({"approve"})),
    )
    program.post({**WISH, "environment": "production"})
    stage.world.work()
    for person in ("U2", "U3"):
        stage.ask(f"approve {SERVICE}#1", person)
    people = stage.world.house.requests.people
    people.roles = (people.roles[0], Role("release", frozenset({"slack:U3"}), frozenset({"approve"})))
    stage.go_on(1)
    shown = program.get("deployments/1")
    assert (shown["state"], shown["approvals"]) == ("awaiting_approval", 1)
    assert shown["approvals_struck"] == [{"at": stage.deployment().struck[0].at, "reason": "no_role"}]
    assert "U2" not in str(shown)


@pytest.mark.parametrize(
    "wish",
    [
        b"not json",
        b"[]",
        {},
        {**WISH, "version": "v1 to production"},
        {**WISH, "service": ""},
        {**WISH, "also": "this"},
        {**WISH, "reason": "x" * 201},
    ],
)
def test_a_bad_body_is_said_and_changes_nothing(program: Program, wish: object) -> None:
    """400 with the place; nothing is stored. A version of two words could say more than a version."""
    answer = program.post(wish)
    assert answer.status_code == 400
    assert answer.json
    program.stage.world.work()
    assert program.stage.world.states() == []


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_unsigned_is_refused(program: Program, header: str) -> None:
    """401 for a missing or wrong header, also for what only asks and for a client that is none."""
    assert program.post(WISH, **{header: "1"}).status_code == 401
    assert program.client.get("/api/train/dora").status_code == 401
    assert program.client.get("/api/nobody/dora", headers=program.signed(b"", "msg_9")).status_code == 401
    program.stage.world.work()
    assert program.stage.world.states() == []


def test_what_is_not_there_is_404(program: Program) -> None:
    """A number or a request that nobody knows."""
    for number in (99, 10**12, 2**63, 10**30):  # the last of them no database has a number for
        assert program.get(f"deployments/{number}") == 404
    assert program.get("requests/none") == 404
    assert program.get("dora?service=nothing") == 400


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="needs openssl and curl")
def test_the_shell_example_asks_and_looks(program: Program) -> None:
    """Copied from the page: a deployment is asked for, and what became of it is told."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    found = re.search(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert found
    world = program.stage.world
    people = world.house.requests.people
    people.roles = (*people.roles, Role("trains", frozenset({"api:release-train"}), frozenset({"deploy"})))
    program.stage.build("v1.4")
    places = {SERVICE: ["staging", "production"]}
    door = api(
        {"release-train": [key_of(SECRET)]}, places, world.inbox, world.store, world.house.answers, SystemClock()
    )

    def told(port: int) -> list[Any]:
        own = {"SHIPMATE_URL": f"http://127.0.0.1:{port}", "RELEASE_TRAIN_SECRET": SECRET, "NO_PROXY": "*"}
        own["PATH"] = os.environ["PATH"]
        words = ["sh", "-ec", found[1]]
        run = subprocess.run(words, check=False, env=own, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]

    with serve([door]) as port:
        assert told(port) == [
            {"request": "train-12", "status": "accepted"},
            {"deployment": None, "reason": None, "state": "accepted", "words": None},
            {"error": "there is none"},
        ]
        world.work()
        asked, became, shown = told(port)
    assert (asked["status"], became["state"], became["deployment"]) == ("duplicate", "done", 1)
    assert (shown["version"], shown["environment"], shown["reason"]) == ("v1.4", "staging", "train 12")
    fields = re.findall(r"`([a-z_]+)`", page.partition("## A deployment")[2])
    assert set(shown) <= set(fields)
