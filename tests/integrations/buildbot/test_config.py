"""The configuration of a Buildbot, and what `shipmate check` says of it."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from pydantic import ValidationError

from bot.errors import AuthFailed, Rejected, Unavailable
from integrations.buildbot import SPEC
from integrations.buildbot.config import Config
from tests.fakes import FakeClock
from tests.integrations.buildbot.stand_in import StandIn, living_builder

GOOD: dict[str, Any] = {"url": "http://127.0.0.1:8010/", "webhook_token": "a-long-token"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": "127.0.0.1:8010"}, "http or https"),
        ({"url": "ftp://ci.example.com"}, "http or https"),
        ({"url": "http://user:secret-pw@ci.example.com"}, "credentials"),
        ({"user": "bot"}, "go together"),
        ({"password": "pw"}, "go together"),
        ({"webhook_token": "short"}, "at least 8"),
        ({"webhook_tokn": "a-long-token"}, "Extra inputs"),
        ({"projects": {"user service": {"builder": "b"}}}, "cannot be typed"),
        ({"projects": {"a/b": {"builder": "b"}}}, "cannot be typed"),
        ({"projects": {"a": {"builder": "b"}, "c": {"builder": "b"}}}, "cannot be two projects"),
        ({"projects": {"a": {}}}, "Field required"),
    ],
)
def test_a_mistake_is_named(changed: dict[str, Any], words: str) -> None:
    """Each mistake in the section gets a sentence of its own."""
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({**GOOD, **changed})


def test_secrets_are_not_shown() -> None:
    """Printing the configuration gives nothing away."""
    config = Config.model_validate({**GOOD, "user": "bot", "password": "the-password"})
    assert "the-password" not in repr(config)
    assert "a-long-token" not in repr(config)


def test_without_projects_builders_are_projects_by_their_name() -> None:
    """A small Buildbot needs no list; a builder whose name cannot be typed is left out."""
    config = Config.model_validate(GOOD)
    assert config.project_of("user-service") == "user-service"
    assert config.project_of("user service") is None
    assert config.project("user-service") is not None


def test_with_projects_other_builders_are_nobodys() -> None:
    """The list says which builders count."""
    config = Config.model_validate({**GOOD, "projects": {"users": {"builder": "user service"}}})
    assert config.project_of("user service") == "users"
    assert config.project_of("users") is None
    assert config.project("user service") is None


def test_check_says_what_it_found(config: Config, session: requests.Session) -> None:
    """A working set-up is one line: version, user, projects."""
    probe = SPEC.build("buildbot", config, session, FakeClock()).probe
    assert probe is not None
    assert probe() == "Buildbot 4.3.0, logged in as bot, 1 project"


def test_check_names_everything_that_is_missing(config: Config, session: requests.Session, stand_in: StandIn) -> None:
    """A builder that was taken away and a force scheduler that is not there are named together."""
    projects = {**config.projects, "other": config.projects["user-service"].model_copy(update={"builder": "gone"})}
    stand_in.answers["GET builders/gone"] = living_builder(masterids=[])
    del stand_in.answers["GET forceschedulers/force"]
    probe = SPEC.build("buildbot", config.model_copy(update={"projects": projects}), session, FakeClock()).probe
    assert probe is not None
    with pytest.raises(Rejected) as caught:
        probe()
    assert caught.value.detail == (
        "user-service: there is no force scheduler force; other: the builder gone was taken away"
    )


def test_check_tries_the_credentials(config: Config, session: requests.Session, stand_in: StandIn) -> None:
    """A wrong password is found before the first retry of a build is."""
    stand_in.password = "another"
    probe = SPEC.build("buildbot", config, session, FakeClock()).probe
    assert probe is not None
    with pytest.raises(AuthFailed):
        probe()


def test_check_of_an_address_that_is_no_buildbot(config: Config, session: requests.Session, stand_in: StandIn) -> None:
    """Something else listening there is said to be something else."""
    stand_in.answers["GET /config"] = (200, b"<html>Welcome to nginx!</html>")
    probe = SPEC.build("buildbot", config, session, FakeClock()).probe
    assert probe is not None
    with pytest.raises(Unavailable, match="address of a Buildbot"):
        probe()


def test_without_projects_any_name_that_can_be_typed_may_be_one() -> None:
    """Only Buildbot knows its builders then; with projects, the configuration alone says which there are."""
    source = SPEC.build("buildbot", Config.model_validate(GOOD), requests.Session(), FakeClock())
    assert source.may_have is not None
    assert [source.may_have(name) for name in ("user-service", "shop (release)")] == [True, False]
    named = {**GOOD, "projects": {"shop": {"builder": "shop (release)"}}}
    assert SPEC.build("buildbot", Config.model_validate(named), requests.Session(), FakeClock()).may_have is None
