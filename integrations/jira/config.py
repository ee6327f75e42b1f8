"""What the configuration says of one Jira."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

SYSTEM = "jira"
GATEWAY = "https://api.atlassian.com"
CLOUD_TOKEN_URL = "https://auth.atlassian.com/oauth/token"  # noqa: S105 - an address
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]{1,99}")


def _as_tuple(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _is_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http or https address such as https://acme.atlassian.net")
    if parts.username or parts.password:
        raise ValueError("must not hold credentials: set auth")
    return value.rstrip("/")


def _is_project(value: str) -> str:
    if not _PROJECT.fullmatch(value):
        raise ValueError(f"{value!r} is no project key, such as USER")
    return value


Address = Annotated[str, AfterValidator(_is_address)]
Projects = Annotated[tuple[Annotated[str, AfterValidator(_is_project)], ...], BeforeValidator(_as_tuple)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class Edition(StrEnum):
    """Which Jira it is, and with that which version of its API."""

    CLOUD = "cloud"
    DATA_CENTER = "data_center"


class Method(StrEnum):
    """How calls are authorised."""

    BASIC = "basic"
    BEARER = "bearer"
    CLIENT_CREDENTIALS = "client_credentials"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a word


_NEEDS = {
    Method.BASIC: ("user", "token"),
    Method.BEARER: ("token",),
    Method.CLIENT_CREDENTIALS: ("client_id", "client_secret"),
    Method.REFRESH_TOKEN: ("client_id", "client_secret", "refresh_token"),
}


class Auth(BaseModel):
    """Credentials. `cloud_id` sends calls through Atlassian's gateway, which scoped tokens need and OAuth implies.

    `refresh_token` is the first one; those that follow are stored in the database, encrypted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method
    user: str | None = Field(default=None, min_length=1)
    token: Secret | None = None
    client_id: str | None = Field(default=None, min_length=1)
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    token_url: Address | None = None
    cloud_id: str | None = Field(default=None, pattern=r"^[0-9a-fA-F-]{8,40}$")
    gateway_url: Address = GATEWAY

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed = _NEEDS[self.method]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.method} needs {' and '.join(missing)}")
        for name in ("user", "token", "client_id", "client_secret", "refresh_token"):
            if name not in needed and getattr(self, name) is not None:
                raise ValueError(f"{self.method} takes no {name}")
        return self

    @property
    def is_oauth(self) -> bool:
        """Whether an access token is fetched."""
        return self.method in (Method.CLIENT_CREDENTIALS, Method.REFRESH_TOKEN)


class Records(BaseModel):
    """OAuth credentials of a site for self-hosted tools, by which deployments and builds are shown at issues."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str = Field(min_length=1)
    client_secret: Secret
    token_url: Address = f"{GATEWAY}/oauth/token"
    api_url: Address = GATEWAY
    builds: bool = False


class Config(BaseModel):
    """The tracker's section.

    `url` is what people open in a browser. `projects` are the keys of the projects that it is about: they tell issue
    keys from other words, and are those that are polled. `webhook_secret` is the one that Jira signs with.
    `resolution` is given where a transition's screen asks for one, before those that are known to say done.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["jira"] = "jira"
    url: Address
    edition: Edition = Edition.CLOUD
    auth: Auth
    projects: Projects = ()
    webhook_secret: SecretStr | None = None
    markup: Literal["wiki", "plain"] = "wiki"
    resolution: str = Field(default="", max_length=60)
    records: Records | None = None

    @field_validator("webhook_secret")
    @classmethod
    def _is_strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must be at least 16 characters long")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.edition is Edition.DATA_CENTER:
            if self.auth.cloud_id or self.auth.method is Method.REFRESH_TOKEN:
                raise ValueError("a data_center has no cloud_id and no refresh_token")
            if self.records is not None:
                raise ValueError("records are shown in the cloud edition only")
        elif self.auth.method is Method.BEARER and self.auth.cloud_id is None:
            raise ValueError(
                "bearer in the cloud edition is a scoped token, which needs auth.cloud_id; "
                "a personal access token is of a data_center: set edition"
            )
        elif self.markup != "wiki":
            raise ValueError("markup is a data_center's: the cloud edition has a format of its own")
        return self

    @property
    def is_cloud(self) -> bool:
        """Whether it is Atlassian's own."""
        return self.edition is Edition.CLOUD

    @property
    def goes_through_gateway(self) -> bool:
        """Whether calls go to the gateway instead of the site."""
        return self.is_cloud and (self.auth.is_oauth or self.auth.cloud_id is not None)

    @property
    def token_url(self) -> str:
        """Where access tokens are fetched."""
        default = CLOUD_TOKEN_URL if self.is_cloud else f"{self.url}/rest/oauth2/latest/token"
        return self.auth.token_url or default
