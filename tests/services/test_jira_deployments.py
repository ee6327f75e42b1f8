"""From Jira to Jira: an issue is moved, a version is deployed, and the issue is told; against a Jira over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.issues import ChangeKind
from bot.domain.triggers import Trigger
from bot.errors import Unavailable
from bot.ports import PersonFacts
from bot.services.trackers import Told
from bot.services.tracking import Taken
from integrations.jira.config import Config
from integrations.jira.tracker import build_tracker
from integrations.tokens import TokenShelf
from tests.fakes import FakeClock
from tests.jira_server import SECRET, TOKEN, USER, FakeJira
from tests.services.deployment_world import SERVICE
from tests.services.office import Office, a_tracked_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

READY = Trigger(
    name="trackers.jira.triggers[0]",
    tracker="jira",
    kind=ChangeKind.STATUS_REACHED,
    value="Ready for Staging",
    service=SERVICE,
    environment="staging",
    version="{{fix_version}}",
    projects=("USER",),
    on_success="In Staging",
    on_failure="To Do",
)
RELEASED = Trigger(
    name="trackers.jira.triggers[1]",
    tracker="jira",
    kind=ChangeKind.VERSION_RELEASED,
    value=r"user-service (?P<name>v\d+)",
    service=SERVICE,
    environment="production",
    version="{{name}}",
    projects=("USER",),
)
LABELLED = Trigger(
    name="trackers.jira.triggers[2]",
    tracker="jira",
    kind=ChangeKind.LABEL_ADDED,
    value="deploy-to-staging",
    service=SERVICE,
    environment="staging",
    version="{{fix_version}}",
    projects=("USER",),
    on_success="In Staging",
)


@dataclass
class JiraOffice(Office):
    """One whose tracker is a Jira with the issue USER-12."""

    jira: FakeJira

    @property
    def issue(self) -> Any:
        """USER-12."""
        return self.jira.issues["USER-12"]


@pytest.fixture
def office(store: SqlStore, database: Engine, session: requests.Session) -> Iterator[Callable[..., JiraOffice]]:
    """Make an office with triggers of its own; a build v1 is good, and USER-12 is of that version."""
    with FakeJira() as jira:

        def make(*triggers: Trigger, **more: Any) -> JiraOffice:
            clock = FakeClock()
            auth = {"method": "basic", "user": USER, "token": TOKEN}
            known = {"url": jira.url, "auth": auth, "projects": ["USER"], "webhook_secret": SECRET}
            connected = build_tracker("jira", Config.model_validate(known), session, clock, TokenShelf(), True)
            jira.add(fix_versions=["v1"])
            wanted = triggers or (READY, RELEASED)
            stage = a_tracked_stage("jira", connected, (store, database), wanted, clock, **more)
            return JiraOffice("jira", jira, jira.signed, stage, connected, jira)

        yield make


def test_an_issue_is_moved_and_its_version_deployed(office: Callable[..., JiraOffice]) -> None:
    """The whole way: moved by a person, deployed by the pipeline, moved on and commented by the bot."""
    here = office()
    assert here.hear(here.jira.move("USER-12", "Ready for Staging")) == [Taken.ACCEPTED]
    here.work()
    deployment = here.stage.deployment()
    assert (deployment.version.name, deployment.environment, deployment.origin) == ("v1", "staging", "jira")
    assert (deployment.requester.account, deployment.requester.name) == ("jira:5b10", "Ada Nowak")
    assert deployment.issues == ("USER-12",)
    here.stage.go_on(1)
    here.stage.run_ends()
    assert here.stage.state() is DeploymentState.SUCCEEDED
    here.work()
    assert here.issue.status == "In Staging"
    [said] = here.jira.texts("USER-12")
    assert "user-service#1 · v1 → staging · deployed" in said
    assert ("trigger", "accepted:1") in [(entry[1], entry[3]) for entry in here.stage.world.trail()]


def test_a_label_deploys_once(office: Callable[..., JiraOffice]) -> None:
    """Put on an issue beside another one: the issue's version is deployed; one that stays on it does nothing more."""
    here = office(LABELLED)
    assert here.hear(here.jira.label("USER-12", "backend")) != [Taken.ACCEPTED]
    assert here.hear(here.jira.label("USER-12", "backend", "Deploy-to-Staging")) == [Taken.ACCEPTED]
    here.work()
    deployment = here.stage.deployment()
    assert (deployment.version.name, deployment.environment, deployment.issues) == ("v1", "staging", ("USER-12",))
    assert deployment.requester.account == "jira:5b10"
    here.stage.go_on(1)
    here.stage.run_ends()
    here.work()
    assert (here.stage.state(), here.issue.status) == (DeploymentState.SUCCEEDED, "In Staging")
    here.hear(here.jira.label("USER-12", "Deploy-to-Staging", "urgent"))
    here.work()
    assert here.stage.newest() == 1


def test_a_label_that_was_taken_away_again_deploys_nothing(office: Callable[..., JiraOffice]) -> None:
    """It was a slip, and gone before the bot looked."""
    here = office(LABELLED)
    here.hear(here.jira.label("USER-12", "deploy-to-staging"))
    here.hear(here.jira.label("USER-12"))
    here.work()
    assert here.stage.world.store.read(lambda tx: tx.deployments.newest(None, None, None, 1)) == []


def test_who_moved_an_issue_does_not_approve_what_it_brings(office: Callable[..., JiraOffice]) -> None:
    """Their account in chat has the address that the tracker tells; somebody else's does."""
    here = office(replace(READY, environment="production"))
    here.stage.world.directory.people["U2"] = PersonFacts("Ada", "Ada@Example.com", False)
    body = here.jira.move("USER-12", "Ready for Staging")
    body["user"]["emailAddress"] = "ada@example.com"
    here.hear(body)
    here.work()
    assert here.stage.state() is DeploymentState.AWAITING_APPROVAL
    assert "somebody else must approve" in here.stage.ask("approve user-service#1", "U2")
    here.stage.ask("approve user-service#1", "U3")
    assert [one.account for one in here.stage.deployment().approvals] == ["slack:U3"]


@pytest.mark.parametrize("known", ["slack:U2", "Ada@Example.com"], ids=["account", "address"])
def test_who_hides_their_address_is_known_by_the_configuration(office: Callable[..., JiraOffice], known: str) -> None:
    """Jira tells an id alone: the configuration says whose account in chat that is; the trail keeps to the id."""
    here = office(replace(READY, environment="production"))
    here.people["jira:5b10"] = known
    here.stage.world.directory.people["U2"] = PersonFacts("Ada", "ada@example.com", False)
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    assert "somebody else must approve" in here.stage.ask("approve user-service#1", "U2")
    here.stage.ask("approve user-service#1", "U3")
    assert [one.account for one in here.stage.deployment().approvals] == ["slack:U3"]
    assert ("jira:5b10", "trigger", "accepted:1") in [(one[0], one[1], one[3]) for one in here.stage.world.trail()]
    assert here.stage.deployment().requester.name == "Ada Nowak"


def test_who_is_named_by_account_is_told_of_a_rejection(office: Callable[..., JiraOffice]) -> None:
    """In chat, as if they had asked there."""
    here = office(replace(READY, environment="production"))
    here.people["jira:5b10"] = "slack:U1"
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    here.stage.ask("reject user-service#1 not on a Friday", "U2")
    assert any("not on a Friday" in said for said in here.stage.told("slack:U1"))


def test_who_is_named_by_account_withdraws_what_they_moved(office: Callable[..., JiraOffice]) -> None:
    """Without any role, as whoever asked in chat may."""
    here = office(replace(READY, environment="production"))
    here.people["jira:5b10"] = "slack:U9"
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    here.stage.ask("reject user-service#1", "U9")
    assert (here.stage.state(), here.stage.deployment().outcome) == (DeploymentState.CANCELLED, "withdrawn")


@pytest.mark.parametrize("is_told", [False, True], ids=["by their platform", "by the tracker"])
def test_who_is_named_by_account_is_known_by_their_address_too(
    office: Callable[..., JiraOffice], *, is_told: bool
) -> None:
    """They have never written to the bot, and another account of theirs, of the same address, is an approver's."""
    here = office(replace(READY, environment="production"))
    here.people["jira:5b10"] = "slack:U9"
    world, body = here.stage.world, here.jira.move("USER-12", "Ready for Staging")
    world.other_directory.people["m2"] = PersonFacts("Ada", "ada@example.com", False)
    if is_told:
        body["user"]["emailAddress"] = "Ada@Example.com"
    else:
        world.directory.people["U9"] = PersonFacts("Ada", "ada@example.com", False)
    here.hear(body)
    here.work()
    here.stage.ask("approve user-service#1", "m2")
    assert here.stage.deployment().approvals == ()
    assert "somebody else must approve" in world.trail()[-1][3]


def test_what_needs_approvals_waits_for_the_platform_of_who_moved_it(office: Callable[..., JiraOffice]) -> None:
    """As their own command would: until it answers nobody knows who else they are."""
    here = office(replace(READY, environment="production"))
    here.people["jira:5b10"] = "slack:U9"
    here.stage.world.directory.fails = [Unavailable("slack", "http_503") for _ in range(2)]  # first the approvers
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    assert here.stage.world.store.read(lambda tx: tx.deployments.newest(None, None, None, 1)) == []
    here.work(60)
    assert here.stage.state() is DeploymentState.AWAITING_APPROVAL


def test_a_run_that_fails_moves_it_back(office: Callable[..., JiraOffice]) -> None:
    """With the reason in the comment."""
    here = office()
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    here.stage.go_on(1)
    here.stage.run_ends(BuildStatus.FAILED)
    here.work()
    assert here.issue.status == "To Do"
    assert "The run that deploys it failed." in here.jira.texts("USER-12")[0]


def test_webhook_retry_and_poll_deploy_once(office: Callable[..., JiraOffice]) -> None:
    """The same move told three times, once of them half an hour late."""
    here = office()
    here.poll()
    body = here.jira.move("USER-12", "Ready for Staging")
    here.hear(body)
    here.work()
    here.stage.world.clock.advance(1800)
    assert here.hear(body) == [Taken.DUPLICATE]
    here.jira.now = here.stage.world.clock.now()
    assert here.poll() == 0
    here.work()
    assert here.stage.newest() == 1


def test_a_version_that_was_released_waits_for_its_approvals(office: Callable[..., JiraOffice]) -> None:
    """What the environment asks for holds for Jira too; a failed check rolls back, and nobody is asked twice."""
    here = office()
    here.stage.good("v1")
    here.stage.build("v2")
    here.hear(here.jira.release("user-service v2"))
    here.work()
    assert here.stage.state(2) is DeploymentState.AWAITING_APPROVAL
    here.stage.verification.verdicts["health@v2"] = Verdict.FAILED
    here.stage.ask(f"approve {SERVICE}#2", "U2")
    here.stage.ask(f"approve {SERVICE}#2", "m2")
    here.stage.go_on(1)
    here.stage.run_ends()
    here.stage.go_on(60)
    assert here.stage.state(2) in (DeploymentState.ROLLING_BACK, DeploymentState.ROLLED_BACK)
    here.work()
    assert here.hear(here.jira.release("user-service v2")) == [Taken.DUPLICATE]


def test_jira_away_at_the_end_delays_only_the_comment(office: Callable[..., JiraOffice]) -> None:
    """The deployment is done; the issue is told when Jira is back, once."""
    here = office()
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    here.stage.go_on(1)
    for _ in range(6):
        here.jira.fail("issue/USER-12", 503)
    here.stage.run_ends()
    assert here.stage.state() is DeploymentState.SUCCEEDED
    here.work()
    assert here.jira.texts("USER-12") == []
    here.work(300)
    assert here.issue.status == "In Staging"
    assert len(here.jira.texts("USER-12")) == 1


def test_a_version_nobody_built_is_refused_at_the_issue(office: Callable[..., JiraOffice]) -> None:
    """With the newest good build, and nothing is started."""
    here = office()
    here.issue.fix_versions = ["v9"]
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    assert "I know no such version" in here.jira.texts("USER-12")[0]
    assert here.issue.status == "Ready for Staging"
    assert here.stage.runs() == []


def test_issues_in_the_commits_are_told_too(office: Callable[..., JiraOffice]) -> None:
    """Those between the version before and the new one, where the tracker's settings ask for it."""
    here = office(told=Told(comment=("staging",), link=("staging",)))
    here.stage.good("v1", "staging")
    here.jira.add("USER-20")
    here.stage.build("v2", title="USER-20: log in with UTF-8")
    here.stage.ask(f"deploy {SERVICE} v2 to staging")
    here.stage.go_on(1)
    here.stage.run_ends()
    here.work(5)
    assert len(here.jira.texts("USER-20")) == 1
    assert here.jira.texts("USER-12") == []


def test_a_dry_run_tells_what_a_preview_would(office: Callable[..., JiraOffice]) -> None:
    """The version behind the word, who must approve, what holds it back; too early it would be refused."""
    trial = replace(READY, version="latest", environment="production", is_dry_run=True, on_failure="", on_success="")
    here = office(trial, after="staging")
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    [said] = here.jira.texts("USER-12")
    assert "I would not deploy user-service latest to production." in said
    assert "has to succeed in staging first" in said
    here.stage.good("v1", "staging")
    here.stage.ask(f"lock {SERVICE} production because an audit")
    here.jira.move("USER-12", "To Do")
    here.hear(here.jira.move("USER-12", "Ready for Staging"))
    here.work()
    said = here.jira.texts("USER-12")[-1]
    commit = here.stage.deployment().version.commit[:8]
    assert f"I would deploy user-service {commit} to production." in said
    assert "2 of release must approve" in said
    assert "Now it would have to wait." in said
    assert "an audit" in said
    assert [entry[3] for entry in here.stage.world.trail() if entry[1] == "trigger"] == [
        "dry_run_refused:conflict",
        "dry_run",
    ]
    assert here.stage.newest() == 1
