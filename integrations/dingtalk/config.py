"""What the configuration says of DingTalk, and the keys and addresses of its places."""

from __future__ import annotations

import hashlib
from typing import Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

SYSTEM = "dingtalk"
ROBOT_ACCOUNT = "robot"
USER_PREFIX = "user:"


class Budgets(BaseModel):
    """How many calls may go; `lifted` takes every limit away (for measurements against a stand-in)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lifted: bool = False
    robot_per_minute: int = Field(default=20, ge=6, le=20)
    group_per_minute: int = Field(default=20, ge=6, le=600)
    app_per_minute: int = Field(default=300, ge=20, le=6000)


class Config(BaseModel):
    """The platform's section: an app robot (`client_id`, `client_secret`), or nothing for custom robots alone.

    Without `card_template_id` the app robot sends markdown, which cannot be changed once sent. `corp_id` is the own
    organisation: people of others have no roles. `bot_name` is how people address the robot.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str | None = None
    client_secret: SecretStr | None = None
    robot_code: str | None = None
    card_template_id: str | None = None
    corp_id: str | None = None
    bot_name: str = Field(default="Shipmate", min_length=1, max_length=40)
    api_url: str = "https://api.dingtalk.com"
    oapi_url: str = "https://oapi.dingtalk.com"
    stream: bool = True
    locale: str = "zh-CN"
    budgets: Budgets = Budgets()

    @field_validator("api_url", "oapi_url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise ValueError("must be an http or https address such as https://api.dingtalk.com")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_whole_credentials(self) -> Self:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret go together")
        if self.card_template_id is not None and self.client_id is None:
            raise ValueError("card_template_id needs client_id and client_secret")
        return self

    @property
    def robot(self) -> str:
        """The code of the app robot; by default an app's robot has the app's client id."""
        return self.robot_code or self.client_id or ""


class Robot(BaseModel):
    """A custom group robot: it only sends. `commands` says that the app robot is in the group too and hears people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook_url: SecretStr
    secret: SecretStr | None = None
    commands: bool = False

    @field_validator("webhook_url")
    @classmethod
    def _has_access_token(cls, value: SecretStr) -> SecretStr:
        if urlsplit(value.get_secret_value()).scheme not in ("http", "https") or not _token_of(value):
            raise ValueError("must be the robot's whole address, with ?access_token=…")
        return value

    @property
    def key(self) -> str:
        """The same for two names of one robot, and nothing of its token can be read from it."""
        return f"{SYSTEM}:{ROBOT_ACCOUNT}/{hashlib.sha256(_token_of(self.webhook_url).encode()).hexdigest()[:16]}"


class Destination(BaseModel):
    """Exactly one of a custom robot and a group (openConversationId) that the app robot is in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    robot: Robot | None = None
    group: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^\S+$")

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.robot is None) == (self.group is None):
            raise ValueError("needs exactly one of robot and group")
        return self


def address(name: str, destination: Destination) -> str:
    """The text that the messenger resolves: `dingtalk:robot:<name>` or `dingtalk:group:<openConversationId>`."""
    if destination.robot is not None:
        return f"{SYSTEM}:robot:{name}"
    return f"{SYSTEM}:group:{destination.group}"


def _token_of(webhook_url: SecretStr) -> str:
    return parse_qs(urlsplit(webhook_url.get_secret_value()).query).get("access_token", [""])[0]
