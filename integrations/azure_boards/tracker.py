"""Puts the parts of a configured project of Azure Boards together."""

from __future__ import annotations

from urllib.parse import quote

import requests

from bot.domain.issues import KeyRules, KeyStyle
from bot.ports import Clock
from bot.ports.trackers import TokenStore
from integrations.azure_boards.client import BoardsTracker
from integrations.azure_boards.config import SYSTEM, Config
from integrations.azure_boards.webhook import BoardsWebhook
from integrations.spec import IssueTracker, TrackerSpec


def build_tracker(
    _name: str,
    config: Config,
    session: requests.Session,
    _clock: Clock,
    _tokens: TokenStore,
    _watches_releases: bool,
) -> IssueTracker:
    """The tracker; no call is made before it is used."""
    page = f"{config.url}/{quote(config.project)}/_workitems/edit/{{key}}"
    tracker = BoardsTracker(config, session)
    return IssueTracker(
        tracker=tracker,
        webhook=BoardsWebhook(config, page),
        rules=KeyRules(style=KeyStyle.WORK_ITEM, page=page),
        can_hear=config.webhook is not None,
        probe=lambda: probe(config, tracker),
        relations=tracker,
    )


def probe(config: Config, tracker: BoardsTracker) -> str:
    """What `shipmate check` says; raises IntegrationError."""
    types = tracker.types()
    hears = "service hooks are taken" if config.webhook else "no service hooks"
    return f"Azure Boards project {config.project}, {len(types)} types of work items, {hears}"


SPEC = TrackerSpec(SYSTEM, Config, build_tracker, has_releases=False)
