"""Ways back that people ask for: to what was good there, from what is there, and not over what cannot be undone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Lines, Notice, Paragraph
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.issues import KeyRules
from bot.domain.services import RollbackRule
from bot.services.trackers import TrackerAccess
from handlers.slack_payloads import Own, Translator
from integrations.slack.render import render
from tests.handlers.slack_fakes import press
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.tracker_world import FakeTracker
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """Nothing was deployed yet."""
    return a_stage(store, database)


def approved(stage: Stage, number: int) -> None:
    """Two people agree, and it begins."""
    stage.ask(f"approve {SERVICE}#{number}", "U2")
    stage.ask(f"approve {SERVICE}#{number}", "U3")
    stage.go_on(1)


def asked_back(stage: Stage) -> tuple[int, str]:
    """Which deployment the newest one would undo, and the version it would bring."""
    newest = stage.deployment(stage.newest())
    return newest.rollback_of, newest.version.name


def irreversible(stage: Stage, version: str) -> None:
    """Deploy a version that changes what nobody can change back."""
    stage.build(version, title="Drop a column [irreversible]")
    stage.ask(f"deploy {SERVICE} {version} to production")
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    approved(stage, number)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(number) is S.SUCCEEDED


def test_a_version_that_was_never_there_is_no_way_back(stage: Stage) -> None:
    """It would get there without anybody's approval."""
    stage.good("v1")
    stage.build("v2")
    assert "v2 was never good in production" in stage.ask(f"rollback {SERVICE} in production to v2")
    assert stage.newest() == 1


def test_what_was_good_elsewhere_is_no_way_back(stage: Stage) -> None:
    """Each environment has its own past."""
    stage.good("v1")
    stage.good("v2", "staging")
    assert "never good" in stage.ask(f"rollback {SERVICE} in production to v2")


def test_a_way_back_does_not_lead_over_what_cannot_be_undone(stage: Stage) -> None:
    """Whichever version is named, and however many steps it takes."""
    stage.good("v1")
    irreversible(stage, "v2")
    stage.good("v3")
    assert "cannot be undone" in stage.ask(f"rollback {SERVICE} in production to v1")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#4")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(4), stage.deployment(4).version.name) == (S.SUCCEEDED, "v2")
    assert "cannot be undone" in stage.ask(f"rollback {SERVICE} in production")


def test_an_old_preview_is_looked_at_again(stage: Stage) -> None:
    """Something else was deployed after it was shown: confirming it would undo that unasked."""
    stage.good("v1")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    stage.good("v3")
    assert f"{SERVICE}#2 is not what was deployed last" in stage.ask(f"confirm {SERVICE}#3")
    assert (stage.state(2), stage.state(3)) == (S.SUCCEEDED, S.REQUESTED)


def test_the_button_of_an_old_card_undoes_nothing_else(stage: Stage) -> None:
    """Roll back names the deployment that its card shows."""
    stage.good("v1")
    stage.good("v2")
    old, new = (next(one for one in stage.card(number).actions if one.id == "rollback_deployment") for number in (1, 2))
    assert "is not what was deployed last" in stage.ask(str(old.command))
    stage.ask(str(new.command))
    assert asked_back(stage) == (2, "v1")


def previewed(stage: Stage, typed: str = "") -> tuple[str, list[str], list[str], str]:
    """What the preview of a rollback shows: from which version to which, commits, issues, and what it remarks."""
    stage.ask(f"rollback {SERVICE} in production{typed}")
    return undone_on(stage.world.card_answer())


def undone_on(card: Card) -> tuple[str, list[str], list[str], str]:
    """The same of any card of a rollback."""
    fields = {one.label: "".join(getattr(part, "text", "") for part in one.value) for one in card.fields}
    lists = [one for one in card.sections if isinstance(one, Lines) and one.title.startswith("Commits that it undoes")]
    titles = [getattr(line[1], "text", "").strip() for one in lists for line in one.items]
    remarks = [getattr(part, "text", "") for one in card.sections if isinstance(one, Paragraph) for part in one.body]
    issues = fields.get("Issues that it undoes", "")
    return fields["Version"].split(" (")[0], titles, issues.split(", ") if issues else [], "".join(remarks)


def with_issues(store: SqlStore, database: Engine, **changed: object) -> Stage:
    """A tracker knows the issues that commits name."""
    rules = KeyRules(frozenset({"USER"}), page="https://jira.example.com/browse/{key}")
    known = {"jira": TrackerAccess(FakeTracker(), rules)}
    stage = a_stage(store, database, known_trackers=known, **changed)  # type: ignore[arg-type]  # fields of a Target
    for version, title in (("v1", "First"), ("v2", "Add USER-2"), ("v3", "Fix USER-3 and USER-2")):
        stage.build(version, title=title)
    return stage


def test_a_preview_lists_what_is_undone(store: SqlStore, database: Engine) -> None:
    """The commits and issues of all that was deployed since, and not of what is gone already."""
    stage = with_issues(store, database)
    for version in ("v1", "v2", "v3"):
        stage.good(version)
    newest = ["Fix USER-3 and USER-2"]
    assert previewed(stage) == ("v3 → v2", newest, ["USER-3", "USER-2"], "")
    assert previewed(stage, " to v1") == ("v3 → v1", [*newest, "Add USER-2"], ["USER-3", "USER-2"], "")
    went_back(stage)
    assert previewed(stage) == ("v2 → v1", ["Add USER-2"], ["USER-2"], "")


def test_a_preview_lists_what_failed_and_stayed(store: SqlStore, database: Engine) -> None:
    """It is what runs there: the way back leads from it, and undoes what it brought."""
    stage = with_issues(store, database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    number = stage.carried_out("v2")
    stage.go_on(60)
    assert stage.state(number) is S.FAILED
    assert previewed(stage) == ("v2 → v1", ["Add USER-2"], ["USER-2"], "")
    stage.good("v3")
    assert previewed(stage)[1] == ["Fix USER-3 and USER-2"]


def test_the_card_of_a_rollback_lists_what_it_undoes(store: SqlStore, database: Engine) -> None:
    """What the preview showed stays on the card to the end, for all who did not see the preview."""
    stage = with_issues(store, database)
    for version in ("v1", "v2", "v3"):
        stage.good(version)
    shown = previewed(stage, " to v1")
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.go_on(1)
    assert undone_on(stage.card(number))[:3] == shown[:3]
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(number) is S.SUCCEEDED
    assert undone_on(stage.card(number))[:3] == shown[:3]
    assert stage.deployment(number).changes == ()


def test_the_card_of_a_rollback_by_itself_lists_what_it_undoes(store: SqlStore, database: Engine) -> None:
    """Nobody saw a preview of it: its card says what is gone."""
    stage = with_issues(store, database)
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    number = stage.carried_out("v2")
    stage.go_on(1)
    assert stage.state(number) is S.ROLLING_BACK
    assert undone_on(stage.card(number + 1))[:3] == ("v2 → v1", ["Add USER-2"], ["USER-2"])


def test_issues_of_older_commits_are_named_too(store: SqlStore, database: Engine) -> None:
    """Of hundreds of commits the newest are listed, all are counted, and all their issues are known."""
    stage = with_issues(store, database)
    stage.good("v1")
    stage.build_more("v2", 130)
    stage.verification.verdicts["health"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(1)
    undoes = stage.deployment(stage.newest()).undoes
    assert undoes is not None
    assert (len(undoes.changes), undoes.count, undoes.issues, undoes.is_known) == (30, 131, ("USER-2",), True)
    again = stage.deployment(stage.newest())
    assert again.from_json(again.to_json()) == again


def test_a_preview_says_where_it_does_not_know_what_is_undone(store: SqlStore, database: Engine) -> None:
    """What was heard is listed all the same; what an older version had replaced is not guessed at."""
    stage = with_issues(store, database)
    stage.good("v1")
    stage.hear()
    stage.builds.away = {"between"}
    stage.good("v2")
    stage.builds.away = set()
    unknown = "❔ Not all commits that it undoes are known."
    assert previewed(stage) == ("v2 → v1", ["Add USER-2"], ["USER-2"], unknown)
    stage.good("v3")
    stage.good("v2")
    assert previewed(stage, " to v1")[1:] == (["Add USER-2"], ["USER-2"], unknown)


def press_roll_back(stage: Stage, number: int) -> bool:
    """Press the button as Slack draws it on the card; whether the press was heard for the first time."""
    blocks = render(stage.card(number)).payload["attachments"][0]["blocks"]
    buttons = [element for block in blocks if block["type"] == "actions" for element in block["elements"]]
    [button] = [one for one in buttons if one["action_id"] == "ship:rollback_deployment"]
    pressed = press(button["value"], action_id=button["action_id"])
    heard = Translator(Own(), stage.world.clock).of_press(pressed)
    assert heard is not None
    is_new = stage.world.inbox.accept(
        typed=heard.typed, dedup_key=heard.dedup_key, actor=heard.actor, reply_to=heard.reply_to, via=heard.via
    )
    stage.world.work()
    return is_new


def test_a_press_of_the_button_rolls_back(stage: Stage) -> None:
    """The whole way from the card to the version before; the same press that is sent again asks for nothing more."""
    stage.good("v1")
    stage.good("v2")
    assert press_roll_back(stage, 2)
    assert not press_roll_back(stage, 2)
    assert (stage.newest(), *asked_back(stage)) == (3, 2, "v1")
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLED_BACK, S.SUCCEEDED)


def test_what_is_there_is_what_succeeded_last(stage: Stage) -> None:
    """One that waited long for approval succeeds after a later one: it is what is there, and what is gone back to."""
    stage.good("v1")
    stage.build("v2")
    stage.build("v3")
    stage.ask(f"deploy {SERVICE} v3 to production")
    stage.ask(f"confirm {SERVICE}#2")
    stage.good("v2")
    approved(stage, 2)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(2) is S.SUCCEEDED
    stage.ask("deployments")
    assert "v3" in str(stage.world.card_answer().sections[0])
    stage.build("v4")
    stage.ask(f"deploy {SERVICE} v4 to production")
    previous = stage.deployment(4).previous
    assert previous is not None
    assert previous.name == "v3"
    stage.ask(f"rollback {SERVICE} in production")
    assert asked_back(stage) == (2, "v2")


def went_back(stage: Stage, to: str = "") -> None:
    """Roll back by hand, let it succeed, and open what it locked."""
    stage.went_back(to)
    stage.ask(f"unlock {SERVICE} in production")


def test_a_version_that_was_rolled_back_is_no_way_back_by_an_earlier_success(stage: Stage) -> None:
    """It was good there once, was deployed once more, and was rolled back then."""
    stage.good("v1")
    stage.good("v2")
    stage.good("v2")
    went_back(stage)
    assert asked_back(stage) == (3, "v1")
    assert "no earlier version" in stage.ask(f"rollback {SERVICE} in production")
    assert "never good" in stage.ask(f"rollback {SERVICE} in production to v2")
    assert stage.newest() == 4


def test_two_steps_back_do_not_lead_forward_again(stage: Stage) -> None:
    """What was gone back to, and then was gone back from, is out as well."""
    stage.good("v1")
    stage.good("v2")
    stage.good("v3")
    went_back(stage, " to v2")
    went_back(stage, " to v1")
    assert "no earlier version" in stage.ask(f"rollback {SERVICE} in production")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    assert asked_back(stage) == (6, "v1")


def test_what_lies_between_is_undone_with_it(store: SqlStore, database: Engine) -> None:
    """From v3 to v1: v2 is there no more, its card says so, people are called for v3 alone, no way leads forward."""
    stage = a_stage(store, database)
    for version in ("v1", "v2", "v3"):
        stage.good(version)
    went_back(stage, " to v1")
    assert [stage.state(number) for number in (1, 2, 3, 4)] == [S.SUCCEEDED, S.ROLLED_BACK, S.ROLLED_BACK, S.SUCCEEDED]
    assert stage.deployment(2).rolled_back_by == 4
    assert "Undone by #4, together with #3." in str(stage.card(2).sections)
    stage.world.deliver(60)
    notices = [call for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    called = [call.title for call in notices if "rolled back" in call.title]
    assert [[f"{SERVICE}#{number}" in title for number in (2, 3)] for title in called] == [[False, True]]
    assert "no earlier version" in stage.ask(f"rollback {SERVICE} in production")
    assert "never good" in stage.ask(f"rollback {SERVICE} in production to v2")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    assert asked_back(stage) == (5, "v1")


def test_one_step_back_undoes_nothing_else(stage: Stage) -> None:
    """What was there before stays as good as it was."""
    for version in ("v1", "v2", "v3"):
        stage.good(version)
    went_back(stage)
    assert (stage.state(1), stage.state(2), stage.state(3)) == (S.SUCCEEDED, S.SUCCEEDED, S.ROLLED_BACK)


def test_a_way_back_that_failed_is_tried_again(stage: Stage) -> None:
    """To the same version: that its run failed says nothing of it."""
    stage.good("v1")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    stage.run_ends(BuildStatus.FAILED)
    assert (stage.state(2), stage.state(3)) == (S.ROLLBACK_FAILED, S.FAILED)
    stage.ask(f"rollback {SERVICE} in production")
    assert asked_back(stage) == (2, "v1")


def test_break_glass_is_judged_again_when_it_is_confirmed(store: SqlStore, database: Engine) -> None:
    """Whoever lost the role between the preview and the click starts nothing."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    people = stage.world.house.requests.people
    people.roles = tuple(replace(role, members=frozenset()) if role.name == "sre" else role for role in people.roles)
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(5)
    assert (stage.state(1), stage.runs()) == (S.REQUESTED, [])
