"""What people are told who ask about one deployment: its card, and why it stands as and where it does."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Code, Inline, Lines, Link, Notice, Paragraph
from bot.domain.checks import Verdict
from bot.domain.commands import CommandLine, Verb
from bot.domain.deployments import DeploymentState
from bot.domain.dora import Dora
from bot.domain.issues import KeyRules
from bot.domain.services import RollbackRule
from bot.errors import Unavailable
from bot.ports import PersonFacts
from bot.services.presenters.deployment_answers import dora_card
from bot.services.trackers import TrackerAccess
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.tracker_world import FakeTracker
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A deployment behind a lock, that one person has approved, and a build of the same number."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.world.accept(*(stage.builds.fetch(key, with_log=False) for key in list(stage.builds.runs)))
    stage.ask(f"deploy {SERVICE} v1 to production because it is better")
    return stage


def words(card: Card) -> dict[str, list[str]]:
    """What stands below each heading."""
    return {
        section.title: ["".join(getattr(part, "text", "") for part in line) for line in section.items]
        for section in card.sections
        if isinstance(section, Lines)
    }


def test_a_deployment_is_explained(stage: Stage) -> None:
    """What happened in order, why it stands as it does, each route's answer, and what became of it at each place."""
    stage.ask(f"confirm {SERVICE}#1")
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.ask(f"lock {SERVICE} in production because load test")
    stage.ask(f"approve {SERVICE}#1", "m2")
    stage.go_on()
    stage.world.deliver(5)
    stage.ask(f"explain deployment:{SERVICE}#1")
    card = stage.world.card_answer()
    told = words(card)
    assert card.title == f"Why the deployment {SERVICE}#1 is shown where it is"
    assert told["Events"] == [
        " · 📝 asked for · U1",
        " · ✅ approved · U2",
        " · ✅ approved · m2",
        " · 🕒 queued · Locked by U1: load test",
    ]
    assert told["Routes"] == ["routes[0] · matches → ci"]
    assert any("sent" in line or "shown" in line for line in told["#ci"]), told
    [delivery] = [
        one.id
        for one in stage.world.store.read(lambda tx: tx.cards.of_subject(f"deployment:shipmate/{SERVICE}#1"))
        if one.slot == "card"
    ]
    stage.ask(f"为什么 {delivery}", "m1")
    assert words(stage.world.card_answer())["事件"][0].endswith("发起 · U1")


def test_a_number_is_a_builds_unless_it_says_otherwise(stage: Stage) -> None:
    """Both are counted from one; where there is no such build the deployment is meant."""
    stage.ask(f"confirm {SERVICE}#1")
    stage.ask(f"show {SERVICE}#1")
    assert "waits for approval" not in stage.world.card_answer().title
    for typed in (f"show deployment:{SERVICE}#1", f"详情 shipmate/{SERVICE}#1"):
        stage.ask(typed)
        assert "waits for approval" in stage.world.card_answer().title
        assert [action.id for action in stage.world.card_answer().actions] == ["approve", "reject"]
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.ask(f"explain {SERVICE}#2")
    assert "asked for" in str(words(stage.world.card_answer()))


@pytest.mark.parametrize(
    "name", [f"{SERVICE}#1", f"{SERVICE}#7", "billing#1", f"{SERVICE}#x", f"{SERVICE}#" + "9" * 30]
)
@pytest.mark.parametrize("verb", ["show", "explain"])
def test_what_is_not_confirmed_is_nobodys_business(stage: Stage, verb: str, name: str) -> None:
    """Its requester has its preview; neither is one told of that never was."""
    stage.ask(f"{verb} deployment:{name}")
    assert isinstance(stage.world.answer, Notice)
    assert "no such deployment" in stage.world.said[-1]


def test_who_is_called_to_approve_is_called_by_name(store: SqlStore, database: Engine) -> None:
    """Names are asked for when a deployment is; one that its platform does not tell stays the account's."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.world.directory.people["U2"] = PersonFacts("Chen Wei", None, False)
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.world.deliver(5)
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert [(one.name, one.account) for one in notices[-1].mentions] == [("Chen Wei", "slack:U2"), ("U3", "slack:U3")]
    stage.world.directory.people["U2"] = PersonFacts("", None, False)
    stage.ask(f"approve {SERVICE}#1", "U2")
    assert stage.deployment().approvals[0].name == "Chen Wei"


def test_names_that_cannot_be_asked_for_delay_nothing(stage: Stage) -> None:
    """They are learned another time."""
    stage.world.directory.people["U1"] = PersonFacts("Alice", None, False)
    stage.world.other_directory.fails = [Unavailable("dingtalk", "no_answer")]
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert stage.newest() == 2


def test_a_window_shows_a_deployment_at_once(stage: Stage) -> None:
    """Everything that is known of it is in the database."""
    stage.ask(f"confirm {SERVICE}#1")
    reading = stage.world.worker._reading
    card = reading.loading(CommandLine(Verb.SHOW, (f"deployment:{SERVICE}#1",)), "en")
    assert "waits for approval" in card.title


def test_whats_in_names_the_commits_of_the_same_branch(stage: Stage) -> None:
    """What was built of another branch meanwhile is no part of it."""
    stage.good("v1", "staging")
    stage.build("aside", title="Try something")
    stage.build("v2", title="Fix USER-7")
    assert shown_commits(stage) == ["Fix USER-7"]
    told = sentences(stage, f"whats-in {SERVICE} v1 v2")
    assert told == "🔀  Meanwhile on other branches, and perhaps part of it: Try something (1)"


def test_whats_in_tells_what_was_heard_where_the_source_does_not(stage: Stage) -> None:
    """The commits that builds were built of, without a word of what else they brought."""
    stage.good("v1", "staging")
    stage.build("v2", title="Fix USER-7")
    stage.hear()
    stage.builds.away = {"between"}
    assert shown_commits(stage) == ["Fix USER-7"]


def shown_commits(stage: Stage) -> list[str]:
    """The titles of the commits that staging lacks."""
    stage.ask(f"whats-in {SERVICE} staging")
    return titles_of(stage.world.card_answer())


def titles_of(card: Card) -> list[str]:
    """The titles of the commits on a card."""
    return [line.split(" ", 1)[1].strip(" ·") for lines in words(card).values() for line in lines]


def sentences(stage: Stage, typed: str) -> str:
    """What the card says in sentences that answers a line."""
    stage.ask(typed)
    paragraphs = [one for one in stage.world.card_answer().sections if isinstance(one, Paragraph)]
    return " ".join(getattr(part, "text", "") for one in paragraphs for part in one.body)


def three_builds(store: SqlStore, database: Engine) -> Stage:
    """The first of three builds of one branch is in both environments, the second is no good one."""
    stage = a_stage(store, database)
    stage.build("main", title="First")
    stage.good("main", "staging")
    stage.good("main")
    stage.build("main", BuildStatus.FAILED, title="Fix USER-7")
    stage.build("main", title="Third")
    return stage


@pytest.mark.parametrize(
    ("typed", "names", "titles"),
    [
        ("#1 #3", "From {1} to {3}", ["Third", "Fix USER-7"]),
        ("#1 to #2", "From {1} to {2}", ["Fix USER-7"]),
        ("from staging to latest green", "From main to {3}", ["Third", "Fix USER-7"]),
        ("in production #2", "From main to {2}", ["Fix USER-7"]),
        ("#2 main", "From {2} to main", ["Third"]),
    ],
)
def test_whats_in_compares_what_is_named(
    store: SqlStore, database: Engine, typed: str, names: str, titles: list[str]
) -> None:
    """Versions, or what is in an environment; also what nobody could deploy, for its build went wrong."""
    stage = three_builds(store, database)
    stage.ask(f"whats-in {SERVICE} {typed}")
    card = stage.world.card_answer()
    commits = ["", *(run.facts.commit or "" for run in stage.builds.runs.values() if run.key.project == SERVICE)]
    assert card.title == names.format(*(commit[:8] for commit in commits)) + f": {SERVICE}"
    assert titles_of(card) == titles


def test_whats_in_says_which_way_it_looks(store: SqlStore, database: Engine) -> None:
    """From a newer version to an older one the commits are those that the older one lacks; none are between equals."""
    stage = three_builds(store, database)
    assert "is older than" in sentences(stage, f"whats-in {SERVICE} #3 production")
    assert titles_of(stage.world.card_answer()) == ["Third", "Fix USER-7"]
    assert "Nothing new" in sentences(stage, f"差异{SERVICE} production 到 staging")
    assert titles_of(stage.world.card_answer()) == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("v1 v9", "neither a version v9 that I know nor an environment of that name"),
        ("prod v1", "neither a version prod that I know"),
        ("staging v1", "Nothing was deployed to staging yet"),
        ("v1", "no such environment"),
        ("v1 v1 v1", "Write it like this: /ship whats-in <service> <environment or version> [version or environment]"),
    ],
)
def test_whats_in_names_what_it_does_not_know(stage: Stage, typed: str, said: str) -> None:
    """Nothing is guessed in place of a word that means nothing."""
    assert said in stage.ask(f"whats-in {SERVICE} {typed}")


def test_whats_in_says_where_commits_are_not_known(store: SqlStore, database: Engine) -> None:
    """What was heard is shown while the source is away, and that there may be more."""
    stage = three_builds(store, database)
    stage.hear()
    stage.builds.away = {"between"}
    for typed in ("#1 #3", "production"):
        assert "Not all commits between the two are known." in sentences(stage, f"whats-in {SERVICE} {typed}")
        assert titles_of(stage.world.card_answer()) == ["Third", "Fix USER-7"]


def issues(card: object) -> list[Inline]:
    """What stands in the field of issues, without the commas."""
    assert isinstance(card, Card)
    [field] = [field for field in card.fields if field.label == "Issues"]
    return [part for part in field.value if isinstance(part, Link | Code)]


def test_issues_lead_to_their_tracker(store: SqlStore, database: Engine) -> None:
    """On the card, in the preview and in whats-in; also those that only a branch names, and plain ones of no page."""
    rules = KeyRules(frozenset({"USER"}), page="https://jira.example.com/browse/{key}")
    stage = a_stage(
        store,
        database,
        known_trackers={
            "jira": TrackerAccess(FakeTracker(), rules),
            "other": TrackerAccess(FakeTracker(), KeyRules(frozenset({"OPS"}))),
        },
    )
    stage.good("v1")
    stage.build("feature/USER-8-login", title="Log in, OPS-3")
    linked = [Link("USER-8", "https://jira.example.com/browse/USER-8"), Code("OPS-3")]
    stage.ask(f"whats-in {SERVICE} production")
    assert issues(stage.world.answer) == linked
    stage.ask(f"deploy {SERVICE} feature/USER-8-login to production")
    assert issues(stage.world.answer) == linked
    stage.ask(f"confirm {SERVICE}#2")
    assert issues(stage.card(2)) == linked
    stage.ask(f"show deployment:{SERVICE}#2")
    assert issues(stage.world.answer) == linked


def test_the_services_page_is_that_of_the_deployment(stage: Stage) -> None:
    """Its address is filled with what is deployed, where to."""
    stage.build("release/v2")
    stage.ask(f"deploy {SERVICE} release/v2 to staging")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    pages = [action.url for action in stage.card(stage.newest()).actions if action.id == "open_service"]
    assert pages == [f"https://staging.example.com/{SERVICE}?version=release%2Fv2"]


def what_is_where(stage: Stage) -> str:
    """The line of production."""
    stage.ask("deployments")
    [line] = [
        line for line in words(stage.world.card_answer())["What is where"] if "production" in line or "v1" in line
    ]
    return line


def test_a_version_that_failed_and_stayed_is_what_runs_there(store: SqlStore, database: Engine) -> None:
    """It stands beside the last good one until something else succeeds."""
    stage = a_stage(store, database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    assert "failed" not in what_is_where(stage)
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production")
    stage.ask(f"confirm {SERVICE}#2")
    stage.ask(f"approve {SERVICE}#2", "U2")
    stage.ask(f"approve {SERVICE}#2", "U3")
    stage.go_on(1)
    stage.run_ends(BuildStatus.FAILED)
    assert stage.state(2) is DeploymentState.FAILED
    assert "v1" in what_is_where(stage)
    assert "❌ v2 failed and was not rolled back" in what_is_where(stage)
    stage.good("v3")
    stage.ask("deployments")
    assert "not rolled back" not in str(words(stage.world.card_answer())["What is where"])


def test_a_preview_is_nobodys_news(stage: Stage) -> None:
    """What is not confirmed yet, or never was, is known to who asked for it alone."""
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"abort {SERVICE}#2")
    stage.ask("deployments", "U2")
    told = words(stage.world.card_answer())
    assert told["What is where"] == [f"{SERVICE} · staging —", f"{SERVICE} · production —"]
    assert "Newest deployments" not in told
    stage.ask(f"confirm {SERVICE}#1")
    stage.ask(f"reject {SERVICE}#1")
    stage.ask("deployments", "U2")
    [line] = words(stage.world.card_answer())["Newest deployments"]
    assert f"{SERVICE}#1 production" in line


def test_what_is_under_way_is_what_changes_it_now(stage: Stage) -> None:
    """Not the newest number; how many wait behind it is said beside."""
    stage.ask(f"confirm {SERVICE}#1")
    for person in ("U2", "U3"):
        stage.ask(f"approve {SERVICE}#1", person)
    stage.go_on(1)
    assert "⏳ user-service#1 v1 deploying" in what_is_where(stage)
    assert "wait" not in what_is_where(stage)
    stage.build("v2")
    for number in (2, 3):
        stage.ask(f"deploy {SERVICE} v2 to production")
        stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"deploy {SERVICE} v2 to production")
    assert "⏳ user-service#1 v1 deploying · 2 more wait" in what_is_where(stage)
    stage.run_ends()
    stage.go_on(60)
    assert "🙋 user-service#2 v2 waits for approval · 1 more wait" in what_is_where(stage)


def test_what_would_begin_next_is_told_in_the_order_in_which_it_begins(store: SqlStore, database: Engine) -> None:
    """Break-glass goes before what was asked for earlier."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.approved("U2", "U3")
    stage.ask(f"lock {SERVICE} in production because so")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because fire")
    stage.ask(f"confirm {SERVICE}#2")
    assert "user-service#2 v1" in what_is_where(stage)


@pytest.mark.parametrize(
    ("succeeded", "often"),
    [
        (3600, "120 a day (3600)"),
        (30, "1 a day (30)"),
        (10, "2.3 a week (10)"),
        (1, "1 a month (1)"),
        (0, "0 a month"),
    ],
)
def test_a_frequency_is_told_in_a_unit_that_makes_sense(succeeded: int, often: str) -> None:
    """Nobody deploys 0.033 times a day."""
    card = dora_card([Dora(SERVICE, "production", 30.0, succeeded, 0, None, None)], 30, "en")
    assert words(card)[f"{SERVICE} · production"][0].startswith(f"Deployment frequency · {often}")


def test_what_is_rolled_back_after_a_month_counts_by_now(store: SqlStore, database: Engine) -> None:
    """Its success is older than the figures reach; its failure is not."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.good("v2")
    stage.world.clock.advance(31 * 86_400)
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    [found] = stage.world.house.answers.dora(SERVICE)
    assert (found.failed, found.succeeded, found.open_failures) == (1, 0, 0)
    assert found.restore_s is not None
    assert found.restore_s < 120


def test_what_failed_and_was_left_is_named_beside_the_good_version(store: SqlStore, database: Engine) -> None:
    """By what is new there, and by the preview of what would replace it."""
    stage = a_stage(store, database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(60)
    stage.build("v3")
    for typed in (f"whats-in {SERVICE} production", f"deploy {SERVICE} v3 to production"):
        stage.ask(typed)
        shown = stage.world.card_answer()
        assert "v1" in str(shown.fields)
        assert "v2 failed and was not rolled back" in str(shown.sections)
    stage.ask(f"whats-in {SERVICE} staging")
    assert "v2" not in str(stage.world.card_answer().sections[0])


def test_a_promotion_names_the_branch(store: SqlStore, database: Engine) -> None:
    """A version that is called by its commit says where it was built, in staging and in production alike."""
    stage = a_stage(store, database, after="staging")
    stage.build("main")
    stage.ask(f"deploy {SERVICE} latest green to staging")
    stage.go_on(1)
    stage.run_ends()
    stage.ask(f"promote {SERVICE} to production")
    assert (stage.deployment(2).version.name, stage.deployment(2).branch) == (stage.deployment().version.name, "main")


def test_a_preview_says_that_its_version_went_wrong_there_before(store: SqlStore, database: Engine) -> None:
    """And why it is asked for once more; what has been good there since is as new."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(60)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(2) is DeploymentState.ROLLED_BACK
    stage.ask(f"deploy {SERVICE} v2 to production because it is mended")
    shown = stage.world.card_answer()
    said = (
        f"This version went wrong there before: {SERVICE}#2, rolled back. Checks failed after it was deployed. health"
    )
    assert said in str(shown.sections)
    assert "it is mended" in str(shown.fields)
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert "went wrong" not in str(stage.world.card_answer().sections)


def test_an_environment_that_is_not_named_is_asked_for(stage: Stage) -> None:
    """Nobody said a wrong one; and what needs no approval says so, rather than that a role is missing."""
    for typed in (f"rollback {SERVICE}", f"whats-in {SERVICE}"):
        assert "Say in which environment: staging, production" in stage.ask(typed)
    assert "has no such environment" in stage.ask(f"rollback {SERVICE} in nowhere")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    assert "waits for no approval" in stage.ask(f"approve {SERVICE}#{stage.newest()}", "U2")
