"""The stage on which a bot lives and dies: its places and projects, and how it is configured to know them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from playground import world
from playground.options import Options
from playground.server import Playground
from tests import boards_server, jira_server
from tests.crash.buildbot import PROJECT, TOKEN, LastingBuildbot
from tests.crash.life import ROOT, Doom, Life
from tests.crash.outside import Outside
from tests.crash.places import (
    ADMINS,
    ALICE,
    BAD,
    BEACON,
    CI,
    CROWDED,
    DEPLOYS,
    DOOMED,
    GATE,
    GOOD,
    GREETER,
    LAB,
    LATE,
    LOST,
    NEXT,
    OTHER,
    PARCEL,
    PLAIN,
    REFUSED,
    SHIPS,
    SIDE,
    SLOW,
    STORM,
    ZHANG_MIN,
)
from tests.crash.record import Record
from tests.crash.trackers import (
    ASK,
    BROKEN,
    OLD,
    RACE,
    READY,
    RELEASED,
    RESOLVED,
    SHIP,
    SHIPPED,
    LivingBoards,
    LivingJira,
)

TEMPLATE = ROOT / "integrations" / "dingtalk" / "card_template.json"
SECRETS = {
    "client-secret": "a-client-secret-of-an-app",
    "refresh-token": "first-refresh-token",
    "jira-secret": jira_server.SECRET,
    "boards-token": boards_server.TOKEN,
    "boards-password": boards_server.PASSWORD,
}
Json = dict[str, Any]


@contextmanager
def outside_of(
    folder: Path, roles: Sequence[str], doom: Doom, *, database: str = "", load: str = ""
) -> Iterator[Outside]:
    """A configured bot that is not started yet, and all around it; `database` is a PostgreSQL server's, or SQLite's."""
    options = Options(
        port=0,
        budgets=False,
        dingtalk_templates=(f"{world.DINGTALK_TEMPLATE}={TEMPLATE}",),
        extra_channels=(LOST, ADMINS, OTHER, SLOW),
    )
    with (
        Playground(options) as playground,
        LastingBuildbot(DEPLOYS, BAD, SHIPS) as buildbot,
        LivingJira() as jira,
        LivingBoards() as boards,
    ):
        life = Life(folder, roles, doom)
        (folder / "token").write_text(TOKEN, "utf-8")
        (folder / "robot").write_text(
            f"{playground.url}/dingtalk/oapi/robot/send?access_token={world.DINGTALK_ROBOT_TOKEN}", "utf-8"
        )
        for name, secret in SECRETS.items():
            (folder / name).write_text(secret, "utf-8")
        written = configuration(playground.url, buildbot.url, life.port)
        written["trackers"] = trackers(jira, boards)
        if database:
            written["database_url"] = database
        if load == "late":  # a remark is for those whose rate is used up
            del written["platforms"]["slack"]["budgets"]
        if load == "jira":
            written["trackers"]["jira"]["records"] = records(jira)
        if load == "released_unheard":
            jira.release(OLD)
        if load in ("polled", "released_unheard"):
            written["trackers"]["jira"]["poll"] = "1s"
        if load == "expired":
            written["environments"][GATE]["approvals"]["expires_in"] = "4s"
        (folder / "shipmate.yaml").write_text(yaml.safe_dump(written), "utf-8")
        playground.client.faults(REFUSED)
        outside = Outside(life, Record(folder, database), buildbot, playground, jira, boards)
        try:
            yield outside
        finally:
            life.stop()


def configuration(playground: str, buildbot: str, port: int) -> Json:
    """All of shipmate.yaml."""
    lifted = {"lifted": True}
    slack = {"bot_token": "${SLACK_BOT_TOKEN}", "app_token": "${SLACK_APP_TOKEN}", "budgets": lifted}
    dingtalk = {"client_id": "${DINGTALK_CLIENT_ID}", "client_secret": "${DINGTALK_CLIENT_SECRET}", "budgets": lifted}
    hosts = {"api_url": f"{playground}/dingtalk/api", "oapi_url": f"{playground}/dingtalk/oapi"}
    cards = {"card_template_id": world.DINGTALK_TEMPLATE, "corp_id": world.DINGTALK_CORP}
    robot = {"webhook_url": {"file": "robot"}, "secret": "${DINGTALK_ROBOT_SECRET}"}
    channels = {"ci": CI, "crowded": CROWDED, "lost": LOST, "admins": ADMINS, "slow": SLOW}
    source = {"kind": "buildbot", "url": buildbot, "webhook_token": {"file": "token"}}
    projects = {name: {"builder": name} for name in (PROJECT, STORM, DOOMED, PLAIN, LATE, SIDE)}
    projects[DEPLOYS] = {"builder": DEPLOYS, "force_scheduler": "deploy"}
    projects[SHIPS] = {"builder": SHIPS, "force_scheduler": "ship"}
    can = ["retry", "run", "cancel", "subscribe", "mute", "deploy", "unlock"]
    deploy = {"source": "buildbot", "project": DEPLOYS, "parameters": {"version": "{{version}}"}}
    health = {"kind": "http", "url": f"{buildbot}/health", "duration": "1s", "interval": "1s"}
    return {
        "server": {"listen": f"127.0.0.1:{port}"},
        "progress_interval_s": 0,
        "platforms": {
            "slack": {"mode": "socket", "api_url": f"{playground}/slack/api/", **slack},
            "dingtalk": {**dingtalk, **hosts, **cards},
        },
        "destinations": {
            **{name: {"slack": channel} for name, channel in channels.items()},
            "group": {"dingtalk": {"group": world.DINGTALK_GROUP}},
            "robots": {"dingtalk": {"robot": robot}},
        },
        "sources": {"buildbot": {**source, "projects": projects}},
        "routes": [
            {"match": {"project": PROJECT}, "to": ["ci", "group"]},
            {"match": {"project": STORM}, "to": ["crowded"], "group": {"more_than": 1, "per": "1m"}},
            {"match": {"project": DOOMED}, "to": ["lost"]},
            {"match": {"project": PLAIN}, "to": ["robots"]},
            {"match": {"project": LATE}, "to": ["slow"]},
            {"match": {"kind": "deployment"}, "to": ["ci", "group"]},
            {"match": {"kind": "deployment", "project": [PARCEL, BEACON]}, "to": ["robots"]},
        ],
        "roles": {
            "devs": {"members": [ALICE, ZHANG_MIN], "can": can},
            "release": {"members": [ZHANG_MIN], "can": ["approve"]},
        },
        "environments": {
            "production": {"approvals": {"needed": 1, "from": ["release"]}},
            LAB: {},
            GATE: {"approvals": {"needed": 1, "from": ["release"]}},
        },
        "services": {
            GREETER: {
                "deploy": deploy,
                "versions": "any",
                "environments": {"production": {}},
                "checks": {"health": health},
            },
            PARCEL: {**shipped(buildbot, PARCEL), "environments": {LAB: {}, GATE: {}}},
            BEACON: {**shipped(buildbot, BEACON), "environments": {LAB: {}}, "when_busy": "supersede"},
        },
        "admin": "admins",
        "retention": dict.fromkeys(("events", "attempts", "subjects", "last_runs", "dead", "commands"), "7d"),
    }


def shipped(buildbot: str, service: str) -> Json:
    """How a service is deployed that trackers ask for."""
    parameters = {"version": "{{version}}", "service": "{{service_name}}"}
    health = {"kind": "http", "url": f"{buildbot}/health/{service}", "duration": "1s", "interval": "1s"}
    deploy = {"source": "buildbot", "project": SHIPS, "parameters": parameters}
    return {"deploy": deploy, "versions": "any", "checks": {"health": health}}


def records(jira: LivingJira) -> Json:
    """How deployments are shown at issues."""
    credentials = {"client_id": "tool", "client_secret": {"file": "client-secret"}}
    return {**credentials, "token_url": f"{jira.url}/oauth/token", "api_url": jira.url}


def trackers(jira: LivingJira, boards: LivingBoards) -> Json:
    """Both trackers, with what starts a deployment there."""
    moves = {"environment": LAB, "on_success": SHIPPED, "on_failure": BROKEN}
    auth = {
        "method": "refresh_token",
        "client_id": "app",
        "client_secret": {"file": "client-secret"},
        "refresh_token": {"file": "refresh-token"},
        "token_url": f"{jira.url}/oauth/token",
        "gateway_url": jira.url,
    }
    return {
        "jira": {
            "kind": "jira",
            "url": jira.url,
            "auth": auth,
            "projects": "USER",
            "webhook_secret": {"file": "jira-secret"},
            "tell": {"link": "*", "fix_version": LAB},
            "triggers": [
                {"status": READY, "services": {"USER": PARCEL}, **moves},
                {"labels": {SHIP: PARCEL, RACE: BEACON}, **moves},
                {"labels": {NEXT: PARCEL}, "version": "{{label}}", **moves},
                {"labels": {ASK: PARCEL}, "environment": GATE},
                {
                    "versions": {f"{RELEASED} (?P<name>v\\d)": PARCEL},
                    "version": "{{name}}",
                    "projects": "USER",
                    "environment": LAB,
                },
            ],
        },
        "boards": {
            "kind": "azure_boards",
            "url": boards.organization,
            "project": "Shop",
            "token": {"file": "boards-token"},
            "webhook": {"user": "azure", "password": {"file": "boards-password"}},
            "tell": {"link": "*"},
            "triggers": [
                {"labels": {SHIP: PARCEL}, "environment": LAB, "version": GOOD, "on_success": RESOLVED},
            ],
        },
    }
