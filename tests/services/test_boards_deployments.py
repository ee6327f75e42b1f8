"""From Azure Boards to Azure Boards: a work item is moved or tagged, a version is deployed, and the item is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.deployments import DeploymentState
from bot.domain.issues import ChangeKind
from bot.domain.triggers import Trigger
from bot.services.trackers import Told
from bot.services.tracking import Taken
from integrations.azure_boards.config import Config
from integrations.azure_boards.tracker import build_tracker
from integrations.tokens import TokenShelf
from tests.boards_server import PASSWORD, TOKEN, FakeBoards, StoredItem
from tests.fakes import FakeClock
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE
from tests.services.office import Office, a_tracked_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

RESOLVED = Trigger(
    name="trackers.boards.triggers[0]",
    tracker="boards",
    kind=ChangeKind.STATUS_REACHED,
    value="Resolved",
    service=SERVICE,
    environment="staging",
    version="latest",
    projects=("Shop",),
    types=("Bug",),
    on_success="Closed",
    on_failure="Active",
)
TAGGED = Trigger(
    name="trackers.boards.triggers[1]",
    tracker="boards",
    kind=ChangeKind.LABEL_ADDED,
    value="v1",
    service=SERVICE,
    environment="production",
    version="{{label}}",
    projects=("Shop",),
)


@dataclass
class BoardsOffice(Office):
    """One whose tracker is a project of Azure Boards with the work item 12."""

    boards: FakeBoards

    @property
    def item(self) -> StoredItem:
        """AB#12."""
        return self.boards.items[12]

    @property
    def state_of_item(self) -> Any:
        """How far AB#12 has come."""
        return self.item.fields["System.State"]

    @property
    def said(self) -> list[str]:
        """What was written below AB#12."""
        return [comment["text"] for comment in self.item.comments]


@pytest.fixture
def office(store: SqlStore, database: Engine, session: requests.Session) -> Iterator[Callable[..., BoardsOffice]]:
    """Make an office with triggers of its own; a build v1 is good."""
    with FakeBoards() as boards:

        def make(*triggers: Trigger, **more: Any) -> BoardsOffice:
            clock = FakeClock()
            known = {"url": boards.organization, "project": "Shop", "token": TOKEN}
            known |= {"webhook": {"user": "azure", "password": PASSWORD}}
            connected = build_tracker("boards", Config.model_validate(known), session, clock, TokenShelf(), False)
            boards.add(state="Active")
            wanted = triggers or (RESOLVED, TAGGED)
            stage = a_tracked_stage("boards", connected, (store, database), wanted, clock, **more)
            return BoardsOffice("boards", boards, boards.sent, stage, connected, boards)

        yield make


def test_a_state_that_is_reached_deploys(office: Callable[..., BoardsOffice]) -> None:
    """The whole way: moved by a person, deployed by the pipeline, moved on and commented by the bot."""
    here = office()
    assert here.hear(here.boards.change(state="Resolved")) == [Taken.ACCEPTED]
    here.work()
    deployment = here.stage.deployment()
    assert (deployment.version.name, deployment.environment) == ("00000017", "staging")  # `latest` is a commit by now
    assert deployment.issues == ("AB#12",)
    assert (deployment.requester.account, deployment.requester.name) == ("azure_boards:ada@example.com", "Ada Nowak")
    assert here.state_of_item == "Resolved"
    here.deploys()
    assert (here.stage.state(), here.state_of_item) == (DeploymentState.SUCCEEDED, "Closed")
    [said] = here.said
    assert "user-service#1 · 00000017 → staging · deployed" in said


def test_a_run_that_fails_moves_it_back(office: Callable[..., BoardsOffice]) -> None:
    """With the reason in the comment."""
    here = office()
    here.hear(here.boards.change(state="Resolved"))
    here.work()
    here.stage.go_on(1)
    here.stage.run_ends(BuildStatus.FAILED)
    here.work()
    assert here.state_of_item == "Active"
    assert "The run that deploys it failed." in here.said[0]


def test_a_tag_waits_for_the_approvals_of_its_environment(office: Callable[..., BoardsOffice]) -> None:
    """Who may tag a work item starts nothing that needs approval; the version is the tag's name."""
    here = office()
    assert here.hear(here.boards.change(tags="urgent; v1")) == [Taken.IGNORED, Taken.ACCEPTED]
    here.work()
    assert here.stage.state() is DeploymentState.AWAITING_APPROVAL
    assert here.stage.runs() == []
    here.stage.ask(f"approve {SERVICE}#1", "U2")
    here.stage.ask(f"approve {SERVICE}#1", "m2")
    here.stage.go_on(1)
    here.stage.run_ends()
    here.stage.go_on(60)
    here.work()
    assert here.stage.state() is DeploymentState.SUCCEEDED
    assert "user-service#1 · v1 → production · deployed" in here.said[0]
    here.hear(here.boards.change(tags="urgent; v1; really"))
    here.work()
    assert here.stage.newest() == 1


def test_service_hook_repetition_and_poll_deploy_once(office: Callable[..., BoardsOffice]) -> None:
    """The same move told three times, once of them half an hour late."""
    here = office()
    here.poll()
    body = here.boards.change(state="Resolved")
    here.hear(body)
    here.work()
    here.stage.world.clock.advance(1800)
    assert here.hear(body) == [Taken.DUPLICATE]
    here.boards.now = here.stage.world.clock.now()
    assert here.poll() == 0
    here.work()
    assert here.stage.newest() == 1


def test_boards_away_at_the_end_delays_only_the_comment(office: Callable[..., BoardsOffice]) -> None:
    """The deployment is done; the work item is told when Boards is back, once."""
    here = office()
    here.hear(here.boards.change(state="Resolved"))
    here.work()
    here.stage.go_on(1)
    for _ in range(6):
        here.boards.fail("/_apis/wit/", 503)
    here.stage.run_ends()
    assert here.stage.state() is DeploymentState.SUCCEEDED
    here.work()
    assert (here.state_of_item, here.said) == ("Resolved", [])
    here.work(300)
    assert (here.state_of_item, len(here.said)) == ("Closed", 1)


def test_somebody_who_is_faster_keeps_their_change(office: Callable[..., BoardsOffice]) -> None:
    """An edit between our look and our change: both stand, and the comment once."""
    here = office()
    here.hear(here.boards.change(state="Resolved"))
    here.work()
    here.boards.edits_meanwhile = True
    here.deploys()
    here.work(60)
    assert (here.state_of_item, len(here.said)) == ("Closed", 1)
    assert here.item.fields["System.Title"] == "Edited meanwhile"


def test_items_in_the_commits_are_told_too(office: Callable[..., BoardsOffice]) -> None:
    """Those between the version before and the new one, with a link to the deployment."""
    here = office(told=Told(comment=("staging",), link=("staging",)))
    here.stage.good("v1", "staging")
    here.boards.add(20)
    here.stage.build("v2", title="Log in with UTF-8 (AB#20)")
    here.stage.ask(f"deploy {SERVICE} v2 to staging")
    here.stage.go_on(1)
    run = here.stage.builds.runs[
        max(here.stage.builds.runs, key=lambda key: (key.project == DEPLOY_PROJECT, key.number))
    ]
    run.facts = replace(run.facts, url="https://ci.example.com/deploy/7")
    here.stage.run_ends()
    here.work(5)
    told = here.boards.items[20]
    assert len(told.comments) == 1
    assert [(one["rel"], one["url"]) for one in told.relations] == [("Hyperlink", "https://ci.example.com/deploy/7")]
    assert here.said == []
