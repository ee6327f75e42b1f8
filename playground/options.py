"""What can be set about the playground, at the start and while it runs."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from playground import world

Json = dict[str, Any]

_CHANGEABLE = frozenset(
    {
        "budgets",
        "slack_mode",
        "slack_burst",
        "slack_token_revoked",
        "slack_ack_timeout_s",
        "slack_event_retries_s",
        "slack_trigger_s",
        "slack_response_url_s",
        "slack_scopes",
        "dingtalk_ack_timeout_s",
        "dingtalk_throttle_s",
        "dingtalk_links_mention",
        "dingtalk_duplicate_card",
        "dingtalk_session_s",
        "bot_url",
        "bot_path",
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """One setting a field; times are in seconds, and the defaults are the platforms' own values."""

    host: str = "127.0.0.1"
    port: int = 8800
    public_url: str = ""
    bot_url: str = "http://127.0.0.1:3000"
    bot_path: str = "/slack/events"
    budgets: bool = True
    slack_mode: str = "socket"
    slack_burst: int = 3
    slack_token_revoked: bool = False
    slack_ack_timeout_s: float = 3.0
    slack_event_retries_s: tuple[float, ...] = (0.0, 60.0, 300.0)
    slack_trigger_s: float = 3.0
    slack_response_url_s: float = 1800.0
    slack_scopes: tuple[str, ...] | None = None
    slack_commands: tuple[str, ...] = world.SLACK_COMMANDS
    dingtalk_ack_timeout_s: float = 5.0
    dingtalk_throttle_s: float = 600.0
    dingtalk_links_mention: bool = True
    dingtalk_duplicate_card: str = "refuse"
    dingtalk_session_s: float = 5400.0
    dingtalk_templates: tuple[str, ...] = ()
    calls_kept: int = 10_000
    messages_kept: int = 1_000
    extra_channels: tuple[str, ...] = field(default=())

    def changed(self, changes: Json) -> Self:
        """The options with `changes` applied; ValueError names a key that is unknown or fixed at the start."""
        known = {one.name: one for one in fields(self)}
        values: Json = {}
        for key, value in changes.items():
            if key not in known or key not in _CHANGEABLE:
                raise ValueError(f"no option {key!r} that can be changed; known: {', '.join(sorted(_CHANGEABLE))}")
            values[key] = _coerced(key, value, getattr(self, key))
        return replace(self, **values)


def _coerced(key: str, value: object, current: object) -> object:
    if key == "slack_scopes":
        return None if value is None else tuple(str(one) for one in _as_list(key, value))
    if isinstance(current, tuple):
        return tuple(float(str(one)) for one in _as_list(key, value))
    if isinstance(current, bool) and not isinstance(value, bool):
        raise ValueError(f"{key} takes true or false")
    if isinstance(current, float) and not isinstance(value, bool) and isinstance(value, int | float):
        return float(value)
    if type(value) is not type(current):
        raise ValueError(f"{key} takes a {type(current).__name__}")
    return value


def _as_list(key: str, value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key} takes a list")
    return list(value)
