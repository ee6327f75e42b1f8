"""What the configuration accepts, and the keys it makes."""

from __future__ import annotations

import hashlib

import pytest
import requests
from pydantic import ValidationError

from bot.errors import ConfigError, DestinationGone
from integrations.dingtalk import SPEC
from integrations.dingtalk.config import Config, Destination, address
from integrations.spec import Platform
from tests.fakes import FakeClock

WEBHOOK = "https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef"


def _build(config: dict[str, object], **destinations: object) -> Platform:
    made = {name: Destination.model_validate(one) for name, one in destinations.items()}
    return SPEC.build(Config.model_validate(config), made, requests.Session(), FakeClock())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"client_id": "x"}, "go together"),
        ({"client_secret": "x"}, "go together"),
        ({"card_template_id": "x.schema"}, "needs client_id"),
        ({"api_url": "api.dingtalk.com"}, "http or https"),
        ({"oapi_url": "ftp://oapi.dingtalk.com"}, "http or https"),
        ({"budgets": {"robot_per_minute": 21}}, "less than or equal to 20"),
        ({"webhook": WEBHOOK}, "Extra inputs"),
    ],
)
def test_a_wrong_section_is_refused_by_name(values: dict[str, object], named: str) -> None:
    """Each mistake is said in words that name the setting."""
    with pytest.raises(ValidationError, match=named):
        Config.model_validate(values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "exactly one"),
        ({"group": "cid1", "robot": {"webhook_url": WEBHOOK}}, "exactly one"),
        ({"robot": {"webhook_url": "https://oapi.dingtalk.com/robot/send"}}, "access_token"),
        ({"robot": {"webhook_url": "file:///x?access_token=1"}}, "access_token"),
        ({"robot": {}}, "Field required"),
        ({"group": "two words"}, "pattern"),
    ],
)
def test_a_wrong_destination_is_refused(values: dict[str, object], named: str) -> None:
    """A destination is one robot or one group, whole."""
    with pytest.raises(ValidationError, match=named) as caught:
        Destination.model_validate(values)
    assert "0123456789abcdef" not in str(caught.value.errors(include_input=False))


def test_an_app_is_optional_and_its_robot_has_its_client_id() -> None:
    """Custom robots need no app; an app's robot code is its client id unless it is set."""
    assert Config().robot == ""
    assert Config.model_validate({"client_id": "ding1", "client_secret": "s"}).robot == "ding1"
    assert Config.model_validate({"client_id": "ding1", "client_secret": "s", "robot_code": "r"}).robot == "r"
    assert Config.model_validate({"api_url": "https://api.dingtalk.io/"}).api_url == "https://api.dingtalk.io"


def test_two_names_of_one_robot_are_one_place() -> None:
    """The key is made of the token's hash, never of the token."""
    robot = {"robot": {"webhook_url": WEBHOOK, "secret": "SEC1"}}
    messenger = _build({}, ops=robot, operations=robot).messenger
    one, other = messenger.resolve("dingtalk:robot:ops"), messenger.resolve("dingtalk:robot:operations")
    wanted = hashlib.sha256(b"0123456789abcdef").hexdigest()[:16]
    assert one.key == other.key == f"dingtalk:robot/{wanted}"


def test_one_robot_set_in_two_ways_is_refused() -> None:
    """Two secrets of one robot cannot both be right."""
    one = {"robot": {"webhook_url": WEBHOOK, "secret": "SEC1"}}
    other = {"robot": {"webhook_url": WEBHOOK, "secret": "SEC2"}}
    with pytest.raises(ConfigError, match=r"destinations\.b\.dingtalk\.robot"):
        _build({}, a=one, b=other)


def test_a_group_needs_the_app() -> None:
    """Without credentials nothing can be posted to a group by its id."""
    with pytest.raises(ConfigError, match=r"destinations\.dev\.dingtalk\.group.*client_id"):
        _build({}, dev={"group": "cid1"})


def test_addresses_resolve_without_network() -> None:
    """A group's key holds the app, so that two apps in one group are two places."""
    app = {"client_id": "ding1", "client_secret": "s", "api_url": "http://127.0.0.1:9"}
    group = Destination.model_validate({"group": "cid1=="})
    messenger = _build(app, dev={"group": "cid1=="}).messenger
    place = messenger.resolve(address("dev", group))
    assert (place.key, place.account, place.id) == ("dingtalk:ding1/cid1==", "ding1", "cid1==")


@pytest.mark.parametrize("unknown", ["dingtalk:robot:nobody", "dingtalk:group:", "dingtalk:", "slack:#ci"])
def test_an_unknown_address_is_gone(unknown: str) -> None:
    """Only what is configured can be reached."""
    with pytest.raises(DestinationGone) as caught:
        _build({"client_id": "ding1", "client_secret": "s"}).messenger.resolve(unknown)
    assert caught.value.reason == "not_configured"


def test_secrets_do_not_show() -> None:
    """Neither the section nor a destination prints what it keeps."""
    shown = repr(Config.model_validate({"client_id": "d", "client_secret": "hush-hush"}))
    shown += repr(Destination.model_validate({"robot": {"webhook_url": WEBHOOK, "secret": "SEC-hush"}}))
    assert "hush" not in shown
    assert "0123456789abcdef" not in shown
