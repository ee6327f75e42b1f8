"""What of Slack is configured: the app, and the destinations."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bot.i18n import LOCALES

API_URL = "https://slack.com/api/"
_COMMAND = re.compile(r"/[^\s/A-Z]{1,31}")
_CHANNEL = re.compile(r"#[^\s#]{1,80}|[CGDUW][A-Z0-9]{5,20}")


class Budgets(BaseModel):
    """How fast Slack may be called: seconds between calls to one channel, and calls a minute in the workspace.

    `find_per_minute` are searches for a post whose answer was lost. `lifted` takes all of it away, for benchmarks
    against something that is not Slack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    place_interval_s: float = Field(default=1.0, ge=0)
    post_per_minute: int = Field(default=300, ge=2)
    update_per_minute: int = Field(default=50, ge=2)
    find_per_minute: int = Field(default=50, ge=1)
    lifted: bool = False


class SlackConfig(BaseModel):
    """The app's credentials and how events reach it: over a socket it opens, or over signed HTTP requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["socket", "http"] = "socket"
    command: str = "/ship"
    bot_token: SecretStr
    app_token: SecretStr | None = None
    signing_secret: SecretStr | None = None
    api_url: str = API_URL
    locale: str = "en"
    budgets: Budgets = Budgets()

    @field_validator("command")
    @classmethod
    def _command_is_one_word(cls, value: str) -> str:
        if not _COMMAND.fullmatch(value):
            raise ValueError("must be a slash and one word in lower case, at most 32 characters, such as /ship")
        return value

    @field_validator("api_url")
    @classmethod
    def _api_url_is_a_folder(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("must be an http or https address, such as https://slack.com/api/")
        return value.rstrip("/") + "/"

    @field_validator("locale")
    @classmethod
    def _locale_is_shipped(cls, value: str) -> str:
        if value not in LOCALES:
            raise ValueError("must be one of " + ", ".join(LOCALES))
        return value

    @model_validator(mode="after")
    def _mode_has_its_secret(self) -> Self:
        # The first letters of a token only say its kind, so errors name them, never the value.
        if not self.bot_token.get_secret_value().startswith("xoxb-"):
            raise ValueError("bot_token must be the bot's token, which starts with xoxb-")
        if self.mode == "socket":
            if self.app_token is None:
                raise ValueError("mode socket needs app_token, an app-level token with the scope connections:write")
            if not self.app_token.get_secret_value().startswith("xapp-"):
                raise ValueError("app_token must be an app-level token, which starts with xapp-")
        elif self.signing_secret is None or not self.signing_secret.get_secret_value().strip():
            raise ValueError("mode http needs signing_secret, from the app's Basic Information page")
        return self


class SlackDestination(BaseModel):
    """A channel by name (`"#ci"`) or id (`C0G9QF9GZ`), written as a text or as `{channel: …}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        return {"channel": given} if isinstance(given, str) else given

    @field_validator("channel")
    @classmethod
    def _channel_is_name_or_id(cls, value: str) -> str:
        if not _CHANNEL.fullmatch(value):
            raise ValueError('must be a channel\'s name with its #, such as "#ci", or its id, such as C0G9QF9GZ')
        return value
