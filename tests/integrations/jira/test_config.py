"""The settings of a Jira: what is refused, and why."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from integrations.jira.config import Config

BASIC = {"method": "basic", "user": "bot@example.com", "token": "x"}
GOOD = {"url": "https://acme.atlassian.net/", "auth": BASIC}
CLIENT = {"client_id": "a", "client_secret": "b"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": "acme.atlassian.net"}, "must be an http or https address"),
        ({"url": "https://user:pass@acme.atlassian.net"}, "must not hold credentials"),
        ({"projects": ["user"]}, "is no project key"),
        ({"webhook_secret": "short"}, "at least 16 characters"),
        ({"auth": {"method": "basic", "token": "x"}}, "basic needs user"),
        ({"auth": {**BASIC, "client_id": "a"}}, "basic takes no client_id"),
        ({"auth": {"method": "refresh_token", **CLIENT}}, "refresh_token needs refresh_token"),
        ({"auth": {"method": "client_credentials", "client_id": "a"}}, "needs client_secret"),
        ({"auth": {"method": "magic"}}, "Input should be"),
        ({"auth": {**BASIC, "cloud_id": "../x"}}, "should match pattern"),
        ({"edition": "data_center", "auth": {**BASIC, "cloud_id": "11111111"}}, "no cloud_id"),
        (
            {"edition": "data_center", "auth": {"method": "refresh_token", "refresh_token": "r", **CLIENT}},
            "no refresh_token",
        ),
        ({"edition": "data_center", "records": CLIENT}, "cloud edition only"),
        ({"auth": {"method": "bearer", "token": "x"}}, "needs auth.cloud_id"),
        ({"markup": "plain"}, "markup is a data_center's"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], words: str) -> None:
    """With a sentence that says what to do."""
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({**GOOD, **changed})


def test_addresses_follow_from_the_edition() -> None:
    """Where tokens are fetched, and which calls go through the gateway."""
    cloud = Config.model_validate(GOOD)
    assert (cloud.url, cloud.goes_through_gateway) == ("https://acme.atlassian.net", False)
    assert cloud.token_url == "https://auth.atlassian.com/oauth/token"
    oauth = Config.model_validate({**GOOD, "auth": {"method": "client_credentials", **CLIENT}})
    assert oauth.goes_through_gateway
    own = {"url": "https://jira.example.com/jira", "edition": "data_center"}
    server = Config.model_validate({**own, "auth": {"method": "client_credentials", **CLIENT}})
    assert not server.goes_through_gateway
    assert server.token_url == "https://jira.example.com/jira/rest/oauth2/latest/token"


def test_secrets_are_not_shown() -> None:
    """Neither in a representation nor in a dump."""
    config = Config.model_validate({**GOOD, "webhook_secret": "a-very-long-secret"})
    assert "a-very-long-secret" not in repr(config)
    assert "'x'" not in repr(config.auth)
