"""Puts the parts of a configured Buildbot together, and checks that it can do what is expected of it."""

from __future__ import annotations

from typing import Any

import requests

from bot.errors import DestinationGone, Rejected
from bot.ports import Clock
from integrations.buildbot.api import BuildbotApi, Deadline
from integrations.buildbot.config import SYSTEM, Config
from integrations.buildbot.control import BuildbotControl
from integrations.buildbot.history import BuildbotHistory
from integrations.buildbot.reader import BuildbotReader
from integrations.buildbot.webhook import BuildbotWebhook
from integrations.spec import Source, SourceSpec


def build_source(name: str, config: Config, session: requests.Session, clock: Clock) -> Source:
    """The source `name`; no call is made before it is used."""
    password = config.password.get_secret_value() if config.password is not None else None
    api = BuildbotApi(session, config.url, config.user, password)
    reader = BuildbotReader(name, config, api)
    control = BuildbotControl(name, api, reader, clock)
    return Source(
        webhook=BuildbotWebhook(name, config),
        reader=reader,
        control=control,
        projects=tuple(config.projects),
        probe=lambda: probe(config, api, control),
        may_have=None if config.projects else lambda project: config.project(project) is not None,
        history=BuildbotHistory(name, config, api, reader),
    )


def probe(config: Config, api: BuildbotApi, control: BuildbotControl) -> str:
    """What `shipmate check` says: version, login, projects. Raises IntegrationError naming what is missing."""
    deadline = Deadline(20.0)
    version = _version(api, deadline)
    api.check_login(deadline)
    problems = []
    for name, project in config.projects.items():
        try:
            control.check_project(project, deadline)
        except (DestinationGone, Rejected) as problem:
            problems.append(f"{name}: {problem.detail}")
    if problems:
        raise Rejected(SYSTEM, "incomplete", "; ".join(problems))
    who = (
        f"logged in as {config.user}"
        if config.user is not None
        else "without a user, so that it can hardly be acted on"
    )
    count = len(config.projects)
    scope = f"{count} project{'s' if count != 1 else ''}" if count else "every builder is a project"
    return f"Buildbot {version}, {who}, {scope}"


def _version(api: BuildbotApi, deadline: Deadline) -> str:
    try:
        versions: Any = api.read("/config", deadline)[0].get("versions")
        return next(str(row[1]) for row in versions if row[0] == "Buildbot")
    except (DestinationGone, LookupError, TypeError, StopIteration):
        return "of unknown version"


SPEC = SourceSpec(SYSTEM, Config, build_source)
