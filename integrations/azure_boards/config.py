"""What the configuration says of one project of Azure Boards."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

SYSTEM = "azure_boards"
_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")


def _is_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an organisation's address such as https://dev.azure.com/acme")
    if parts.username or parts.password:
        raise ValueError("must not hold credentials: set token")
    return value.rstrip("/")


def _is_long(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 16:
        raise ValueError("must be at least 16 characters long")
    return value


LongSecret = Annotated[SecretStr, AfterValidator(_is_long)]


class Webhook(BaseModel):
    """How service hooks prove who sends them: `user` and `password`, or a `header` that holds `token`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | None = Field(default=None, min_length=1)
    password: LongSecret | None = None
    header: str | None = None
    token: LongSecret | None = None

    @field_validator("header")
    @classmethod
    def _is_header(cls, value: str | None) -> str | None:
        if value is not None and not _HEADER.fullmatch(value):
            raise ValueError(f"{value!r} is no header's name")
        return value

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        by_password = self.user is not None and self.password is not None
        by_header = self.header is not None and self.token is not None
        given = sum(one is not None for one in (self.user, self.password, self.header, self.token))
        if given != 2 or not (by_password or by_header):
            raise ValueError("needs user and password, or header and token")
        return self


class Config(BaseModel):
    """The tracker's section. `url` is the organisation's address, `token` a personal access token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["azure_boards"] = "azure_boards"
    url: Annotated[str, AfterValidator(_is_address)]
    project: str = Field(min_length=1, max_length=64, pattern=r"^[^/\\?#<>|:*\"]+$")
    token: Annotated[SecretStr, Field(min_length=1)]
    webhook: Webhook | None = None
