"""Who and what the playground holds at the start: one Slack workspace and one DingTalk organisation.

The values are published on purpose: they open nothing but this playground, and the demo's configuration quotes them.
"""

# These secrets are no secrets: they are quoted in the documentation and open nothing else.
# ruff: noqa: S105

from dataclasses import dataclass
from typing import Final

BOT_NAME: Final = "Shipmate"

SLACK_TEAM: Final = "T024BE7L1"
SLACK_TEAM_DOMAIN: Final = "playground"
SLACK_TEAM_NAME: Final = "Playground"
SLACK_OTHER_TEAM: Final = "T0PARTNER1"
SLACK_APP: Final = "A024SHIPMT"
SLACK_BOT: Final = "B024SHIPMT"
SLACK_BOT_USER: Final = "U024SHIPMATE"
SLACK_BOT_TOKEN: Final = "xoxb-playground-shipmate"
SLACK_APP_TOKEN: Final = "xapp-playground-shipmate"
SLACK_SIGNING_SECRET: Final = "playground-signing-secret"
SLACK_VERIFICATION_TOKEN: Final = "playground-verification-token"
SLACK_COMMANDS: Final = ("/ship",)

DINGTALK_CORP: Final = "dingplayground0001"
DINGTALK_CLIENT_ID: Final = "dingplayground"
DINGTALK_CLIENT_SECRET: Final = "playground-client-secret"
DINGTALK_BOT_USER: Final = "$:LWCP_v1:$shipmate"
DINGTALK_GROUP: Final = "cidPLAYGROUNDdev0001=="
DINGTALK_OPS_GROUP: Final = "cidPLAYGROUNDops0002=="
DINGTALK_ROBOT_TOKEN: Final = "playground-ops-robot"
DINGTALK_ROBOT_SECRET: Final = "SECplayground0123456789"
DINGTALK_KEYWORD_ROBOT_TOKEN: Final = "playground-keyword-robot"
DINGTALK_KEYWORD: Final = "Shipmate"
DINGTALK_TEMPLATE: Final = "shipmate-playground.schema"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody (or some bot) of a chat platform; `handle` is what others type to reach them."""

    id: str
    name: str
    handle: str
    email: str = ""
    team: str = ""
    is_bot: bool = False
    is_guest: bool = False
    is_stranger: bool = False


SLACK_PEOPLE: Final = (
    Person("U024ALICE01", "Alice", "alice", "alice@example.com", SLACK_TEAM),
    Person("U024BOB0002", "Bob", "bob", "bob@example.com", SLACK_TEAM),
    Person("U024CHENWEI", "陈伟", "chenwei", "chen.wei@example.com", SLACK_TEAM),
    Person("U024GUEST04", "Gita (guest)", "gita", "gita@contractor.example", SLACK_TEAM, is_guest=True),
    Person("U0PARTNER05", "Sam (Partner Inc)", "sam", "", SLACK_OTHER_TEAM, is_stranger=True),
    Person("U024OTHERBT", "Deploybot", "deploybot", "", SLACK_TEAM, is_bot=True),
    Person(SLACK_BOT_USER, BOT_NAME, "shipmate", "", SLACK_TEAM, is_bot=True),
)

DINGTALK_PEOPLE: Final = (
    Person("manager4220", "张敏", "zhangmin", team=DINGTALK_CORP),
    Person("lilei0017", "李雷", "lilei", team=DINGTALK_CORP),
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel or group as it stands at the start; `has_bot` says whether the bot is a member."""

    id: str
    name: str
    has_bot: bool


SLACK_CHANNELS: Final = (
    Channel("C024CI00001", "#ci", True),
    Channel("C024DEPLOY2", "#deploys", True),
    Channel("C024RANDOM3", "#random", False),
)

DINGTALK_GROUPS: Final = (
    Channel(DINGTALK_GROUP, "研发群", True),
    Channel(DINGTALK_OPS_GROUP, "运维通知", False),
)


@dataclass(frozen=True, slots=True)
class CustomRobot:
    """A group's webhook robot: its security is a signing secret or a keyword that each text must contain."""

    token: str
    name: str
    group: str
    secret: str = ""
    keyword: str = ""


DINGTALK_ROBOTS: Final = (
    CustomRobot(DINGTALK_ROBOT_TOKEN, BOT_NAME, DINGTALK_OPS_GROUP, secret=DINGTALK_ROBOT_SECRET),
    CustomRobot(DINGTALK_KEYWORD_ROBOT_TOKEN, BOT_NAME, DINGTALK_OPS_GROUP, keyword=DINGTALK_KEYWORD),
)
