"""How the composition root configures and builds Slack."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from slack_sdk.web import WebClient

from bot.ports import Clock
from integrations.slack.client import SlackMessenger, Workspace
from integrations.slack.config import SlackConfig, SlackDestination
from integrations.slack.errors import SYSTEM
from integrations.slack.people import SlackDirectory, SlackModals, SlackResponder
from integrations.slack.preview import preview
from integrations.slack.web import ask, web_client
from integrations.spec import Platform, PlatformSpec


def build(
    config: SlackConfig, destinations: Mapping[str, SlackDestination], session: requests.Session, clock: Clock
) -> Platform:
    """The platform; destinations are resolved later, by the messenger."""
    web = web_client(config, session)
    workspace = Workspace(web)
    return Platform(
        messenger=SlackMessenger(config, web, workspace, session, clock),
        responder=SlackResponder(web, workspace, session, clock),
        directory=SlackDirectory(web, workspace),
        modals=SlackModals(web),
        default_locale=config.locale,
        probe=lambda: _probe(web),
    )


def address(name: str, destination: SlackDestination) -> str:
    """What the messenger resolves."""
    return f"{SYSTEM}:{destination.channel}"


def _probe(web: WebClient) -> str:
    answer = ask("auth.test", web.auth_test)
    return f"workspace {answer.get('team')} ({answer.get('team_id')}), bot {answer.get('user')}: token accepted"


SPEC = PlatformSpec(
    kind=SYSTEM, config=SlackConfig, destination=SlackDestination, address=address, build=build, preview=preview
)
