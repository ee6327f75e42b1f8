"""How the composition root configures and builds DingTalk."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from bot.errors import ConfigError
from bot.ports import Clock
from integrations.dingtalk.api import App
from integrations.dingtalk.client import DingTalkDirectory, DingTalkMessenger, DingTalkResponder
from integrations.dingtalk.config import SYSTEM, Config, Destination, Robot, address
from integrations.dingtalk.preview import preview
from integrations.spec import Platform, PlatformSpec


def build(config: Config, destinations: Mapping[str, Destination], session: requests.Session, clock: Clock) -> Platform:
    """The platform; ConfigError where a destination needs what the platform's section does not have."""
    app = None
    if config.client_id is not None and config.client_secret is not None:
        secret = config.client_secret.get_secret_value()
        app = App(session, config.client_id, secret, api_url=config.api_url, oapi_url=config.oapi_url)
    robots = _robots(destinations)
    for name, destination in destinations.items():
        if destination.group is not None and app is None:
            raise ConfigError(f"destinations.{name}.dingtalk.group", "needs platforms.dingtalk.client_id")
    groups = {destination.group: name for name, destination in destinations.items() if destination.group is not None}
    return Platform(
        messenger=DingTalkMessenger(config, robots, groups, session=session, app=app, clock=clock),
        responder=DingTalkResponder(config, session, app, clock),
        directory=DingTalkDirectory(app) if app is not None else None,
        default_locale=config.locale,
        probe=lambda: _probe(app, len({robot.key for robot in robots.values()})),
        cautions=_cautions(config),
    )


def _robots(destinations: Mapping[str, Destination]) -> dict[str, Robot]:
    robots: dict[str, Robot] = {}
    by_key: dict[str, Robot] = {}
    for name, destination in destinations.items():
        if destination.robot is None:
            continue
        known = by_key.setdefault(destination.robot.key, destination.robot)
        if known != destination.robot:
            raise ConfigError(f"destinations.{name}.dingtalk.robot", "is set differently under another name")
        robots[name] = destination.robot
    return robots


def _probe(app: App | None, robots: int) -> str:
    """Asks for a token; a custom robot can only be tested by posting, so it is not."""
    said = []
    if app is not None:
        app.token()
        said.append(f"app {app.client_id}: credentials accepted")
    if robots:
        said.append(f"{robots} custom robot(s), not called")
    return "; ".join(said) or "nothing configured"


def _cautions(config: Config) -> tuple[tuple[str, str], ...]:
    if config.stream and config.client_id and not config.corp_id:
        words = (
            "is not set: without your organisation's CorpId, nobody may press a card until somebody wrote to the bot"
        )
        return (("corp_id", words),)
    return ()


SPEC = PlatformSpec(kind=SYSTEM, config=Config, destination=Destination, address=address, build=build, preview=preview)
