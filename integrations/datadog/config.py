"""What the configuration says of one Datadog organisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

SYSTEM = "datadog"
Site = Literal[
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "uk1.datadoghq.com",
    "datadoghq.eu",
    "ddog-gov.com",
    "us2.ddog-gov.com",
]


class Dora(BaseModel):
    """What is told to DORA Metrics: deployments to these environments (globs), with the repositories of services."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environments: tuple[str, ...] = Field(default=("*",), min_length=1)
    repositories: Mapping[str, str] = Field(default_factory=dict)
    team: str = ""


class Config(BaseModel):
    """The section of one organisation.

    `site` is the part of its address that differs between Datadog's regions; `api_url` names another address of the
    API, such as a proxy's. `aggregator` makes one value of the time that is asked for. With `api` v1 arithmetic is left
    to Datadog, with v2 a query such as `a / b` becomes two queries and a formula. With `dora` deployments are told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["datadog"] = "datadog"
    site: Site = "datadoghq.com"
    api_url: str = ""
    api_key: SecretStr = Field(min_length=1)
    application_key: SecretStr = Field(min_length=1)
    api: Literal["v2", "v1"] = "v2"
    aggregator: Literal["avg", "min", "max", "sum", "last"] = "avg"
    dora: Dora | None = None

    @field_validator("api_url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http or https address such as https://api.datadoghq.com")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials: set api_key and application_key")
        return value.rstrip("/")

    @property
    def base_url(self) -> str:
        """Where the API answers."""
        return self.api_url or f"https://api.{self.site}"

    @property
    def pages(self) -> str:
        """Where people see it: https://docs.datadoghq.com/getting_started/site/."""
        return f"https://app.{self.site}" if self.site.count(".") == 1 else f"https://{self.site}"
