"""What the configuration says of one Prometheus."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bot.domain.templates import DEPLOYMENT_NAMES
from bot.ports.metrics import Query
from integrations.prometheus.promql import check

SYSTEM = "prometheus"
SAMPLE = {**dict.fromkeys(DEPLOYMENT_NAMES, "sample"), "window": "300s"}


class Queries(BaseModel):
    """What is asked for every deployment: percent, seconds and a share of 1; an empty one is not asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    availability: str = '100 * avg(avg_over_time(up{job="{{service}}"}[{{window}}]))'
    latency: str = (
        "histogram_quantile(0.95, sum by (le) "
        '(rate(http_request_duration_seconds_bucket{job="{{service}}"}[{{window}}])))'
    )
    error_rate: str = (
        '(sum(rate(http_requests_total{job="{{service}}",status=~"5.."}[{{window}}])) or vector(0))'
        ' / sum(rate(http_requests_total{job="{{service}}"}[{{window}}]))'
    )


class Config(BaseModel):
    """The section of one Prometheus.

    `url` is where the API answers, `public_url` where people reach its pages. `user` and `password`, or `token`, go
    with every call. Without `parse_queries` whatever stands in a query is left to the server, for dialects of PromQL.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["prometheus"] = "prometheus"
    url: str
    public_url: str = ""
    user: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = Field(default=None, min_length=1)
    token: SecretStr | None = Field(default=None, min_length=1)
    parse_queries: bool = True
    queries: Queries = Queries()

    @field_validator("url", "public_url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http or https address such as https://prometheus.example.com")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials: set user and password, or token")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_one_kind_of_credentials(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.user is not None and self.token is not None:
            raise ValueError("user with password and token exclude each other")
        return self

    @model_validator(mode="after")
    def _asks_what_can_be_asked(self) -> Self:
        for name, template in self.queries:
            if template and self.parse_queries:
                try:
                    check(Query(template, SAMPLE))
                except ValueError as problem:
                    raise ValueError(f"queries.{name}: {problem}") from None
        return self
