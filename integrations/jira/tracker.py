"""Puts the parts of a configured Jira together, and checks that it can do what is expected of it."""

from __future__ import annotations

import requests

from bot.domain.issues import KeyRules
from bot.errors import Rejected
from bot.ports import Clock
from bot.ports.trackers import TokenStore
from integrations.jira.api import JiraApi
from integrations.jira.auth import authorizer
from integrations.jira.client import JiraTracker
from integrations.jira.config import SYSTEM, Config
from integrations.jira.records import JiraRecords
from integrations.jira.webhook import JiraWebhook
from integrations.spec import IssueTracker, TrackerSpec


def build_tracker(
    name: str,
    config: Config,
    session: requests.Session,
    clock: Clock,
    tokens: TokenStore,
    watches_releases: bool,
) -> IssueTracker:
    """The tracker `name`; no call is made before it is used."""
    api = JiraApi(session, config, authorizer(name, config, session, clock, tokens))
    tracker = JiraTracker(config, api, clock, watches_releases=watches_releases)
    return IssueTracker(
        tracker=tracker,
        webhook=JiraWebhook(config),
        rules=KeyRules(frozenset(config.projects), page=f"{config.url}/browse/{{key}}"),
        can_hear=config.webhook_secret is not None,
        probe=lambda: probe(config, tracker),
        releases=tracker,
        relations=tracker,
        records=JiraRecords(config, config.records, session, clock) if config.records else None,
        shows_builds=config.records is not None and config.records.builds,
        may_hide_people=config.is_cloud,
    )


def probe(config: Config, tracker: JiraTracker) -> str:
    """What `shipmate check` says: who we are there, and which projects. Raises IntegrationError."""
    who = tracker.whoami()
    if missing := tracker.missing_projects():
        raise Rejected(SYSTEM, "incomplete", f"{who} sees no project {', '.join(missing)}")
    scope = ", ".join(config.projects) if config.projects else "every project it may see"
    hears = "webhooks are signed" if config.webhook_secret else "no webhooks"
    return f"Jira {'Cloud' if config.is_cloud else 'Data Center'} as {who}, {scope}, {hears}"


SPEC = TrackerSpec(SYSTEM, Config, build_tracker, has_releases=True)
