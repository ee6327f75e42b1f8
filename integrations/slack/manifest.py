"""The app manifest to create the Slack app from. Pure.

https://docs.slack.dev/reference/app-manifest · what each scope is for: docs/platforms/slack.md.
"""

from __future__ import annotations

from typing import Any

EVENTS_PATH = "/slack/events"
SCOPES = (
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "users:read",
    "users:read.email",
)
EVENTS = ("app_mention", "member_joined_channel", "message.im")
MAX_NAME = 35


def manifest(
    command: str = "/ship", mode: str = "socket", public_url: str = "", name: str = "Shipmate"
) -> dict[str, Any]:
    """The manifest; with mode `http` Slack calls `public_url` (https, without a path of its own)."""
    is_socket = mode == "socket"
    if not is_socket and not public_url.startswith("https://"):
        raise ValueError("mode http needs a public_url that starts with https://")
    where = {} if is_socket else {"request_url": public_url.rstrip("/") + EVENTS_PATH}
    slash: dict[str, Any] = {
        "command": command,
        "description": "Builds: status, retry, cancel, run, logs",
        "usage_hint": "help | status [project] | retry project#12",
        "should_escape": False,
    }
    if where:
        slash["url"] = where["request_url"]
    return {
        "display_information": {
            "name": name[:MAX_NAME],
            "description": "Builds and deployments, where the team talks",
            "background_color": "#1F3A4D",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": name[:MAX_NAME], "always_online": True},
            "slash_commands": [slash],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**where, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **where},
            "org_deploy_enabled": False,
            "socket_mode_enabled": is_socket,
            "token_rotation_enabled": False,
        },
    }
