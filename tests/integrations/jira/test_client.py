"""Issues of Jira: read, moved, commented and linked, over HTTP against the stand-in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.domain.cards import Code, Lines, Link, Paragraph, Preformatted, Strong, text
from bot.domain.issues import Release, RemoteLink, StatusCategory
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.jira.client import JiraTracker
from tests.integrations.jira.conftest import Connect
from tests.jira_server import FakeJira
from tests.loopback import Answer, Call

MARKER = "shipmate deployment 7"
SECTIONS = (
    Paragraph(text("Deployed ", Strong("1.4.2"), " to ", Code("staging"), "\nby Ada"), title="Deployment"),
    Lines((text("✅ health"), text(Link("build", "https://ci.example.com/7"))), hidden=2),
    Preformatted("line one\n\n{noformat}line three\x00\n"),
)
RESOLUTION = {
    "resolution": {
        "required": True,
        "name": "Resolution",
        "key": "resolution",
        "operations": ["set"],
        "schema": {"type": "resolution"},
        "allowedValues": [{"name": "Won't Do"}, {"name": "Done"}],
    }
}


def test_an_issue_is_read(jira: FakeJira, tracker: JiraTracker) -> None:
    """With all that people ask of it, the description as plain words."""
    jira.add("PAY-3", title="Refunds", kind="Bug", labels=["x"], fix_versions=["1.4"], description="Money back")
    issue = tracker.issue("PAY-3")
    assert (issue.key, issue.title, issue.status, issue.category) == (
        "PAY-3",
        "Refunds",
        "To Do",
        StatusCategory.TO_DO,
    )
    assert (issue.kind, issue.priority, issue.assignee) == ("Bug", "High", "陈伟 Chen Wei")
    assert (issue.labels, issue.fix_versions, issue.project) == (("x",), ("1.4",), "PAY")
    assert (issue.description, issue.url) == ("Money back", f"{jira.url}/browse/PAY-3")
    assert issue.updated_at == jira.now


def test_an_issue_that_is_not_there_is_gone(tracker: JiraTracker) -> None:
    """Or may not be seen: Jira tells no difference."""
    with pytest.raises(DestinationGone) as caught:
        tracker.issue("USER-999")
    assert caught.value.reason == "no_such_issue"


def test_a_transition_is_found_by_the_status_behind_it(jira: FakeJira, tracker: JiraTracker) -> None:
    """Its own name differs, its id is a text, and the comment goes with it."""
    assert tracker.transition("USER-12", "ready FOR staging", SECTIONS, MARKER) is True
    assert jira.issues["USER-12"].status == "Ready for Staging"
    [said] = jira.texts("USER-12")
    assert MARKER in said
    assert tracker.comment("USER-12", SECTIONS, MARKER) is False


def test_an_issue_that_is_there_already_is_left_alone(jira: FakeJira, tracker: JiraTracker) -> None:
    """The list of transitions lacks its own status: nothing is posted."""
    jira.workflow["To Do"] = ["In Progress"]
    assert tracker.transition("USER-12", "To Do", SECTIONS, MARKER) is False
    assert jira.asked("POST") == []


@pytest.mark.parametrize(("waited", "is_moved"), [(0, False), (60, True)])
def test_an_issue_that_was_there_since_is_left_where_it_is(
    jira: FakeJira, tracker: JiraTracker, waited: int, is_moved: bool
) -> None:
    """It was moved by a call whose answer was lost, and somebody has moved it on; what was before does not count."""
    assert tracker.transition("USER-12", "Closed") is True
    jira.move("USER-12", "To Do")
    assert tracker.transition("USER-12", "Closed", since=jira.now + timedelta(seconds=waited)) is is_moved
    assert jira.issues["USER-12"].status == ("Closed" if is_moved else "To Do")


def test_a_category_will_do_where_no_status_has_the_name(jira: FakeJira, tracker: JiraTracker) -> None:
    """`Done` where the status behind it is called Closed; one in the category is there already."""
    assert tracker.transition("USER-12", "Done") is True
    assert jira.issues["USER-12"].status == "Closed"
    assert tracker.transition("USER-12", "Done") is False


def test_a_status_that_cannot_be_reached_is_refused(jira: FakeJira, tracker: JiraTracker) -> None:
    """With the ways that there are."""
    jira.workflow["To Do"] = ["In Progress", "Closed"]
    with pytest.raises(Rejected) as caught:
        tracker.transition("USER-12", "In Staging")
    assert caught.value.reason == "no_transition"
    assert "In Progress, Closed" in caught.value.detail


def test_a_resolution_is_given_where_the_screen_asks_for_one(jira: FakeJira, tracker: JiraTracker) -> None:
    """The one that says it was done; anything else that is asked for is named."""
    jira.required["Closed"] = RESOLUTION
    assert tracker.transition("USER-12", "Closed")
    sent = next(call.body for call in jira.calls if call.method == "POST")
    assert sent["fields"] == {"resolution": {"name": "Done"}}
    jira.required["In Staging"] = {"customfield_1": {**RESOLUTION["resolution"], "name": "Risk", "allowedValues": []}}
    with pytest.raises(Rejected) as caught:
        tracker.transition("USER-12", "In Staging")
    assert (caught.value.reason, "Risk" in caught.value.detail) == ("required_fields", True)


@pytest.mark.parametrize(
    ("allowed", "configured", "given"),
    [
        (["Won't Do", "已解决"], "", "已解决"),
        (["Won't Do", "Shipped"], "shipped", "Shipped"),
        (["Done", "Shipped"], "Shipped", "Shipped"),
        (["Won't Do", "Duplicate"], "Shipped", None),
    ],
)
def test_no_resolution_is_made_up(
    connect: Connect, jira: FakeJira, allowed: list[str], configured: str, given: str | None
) -> None:
    """The configured one, or one that says done, by its id; else the issue is not moved, and the field is named."""
    values = [{"id": str(7 + number), "name": name} for number, name in enumerate(allowed)]
    jira.required["Closed"] = {"resolution": {**RESOLUTION["resolution"], "allowedValues": values}}
    tracker = connect(jira, resolution=configured).tracker
    if given is None:
        with pytest.raises(Rejected, match="Resolution"):
            tracker.transition("USER-12", "Closed")
        return
    assert tracker.transition("USER-12", "Closed")
    sent = next(call.body for call in jira.calls if call.method == "POST")
    assert sent["fields"] == {"resolution": {"id": str(7 + allowed.index(given))}}


@pytest.mark.parametrize("status", ["Closed", "Done"])
def test_of_several_ways_the_one_is_taken_that_can_be_filled_in(
    jira: FakeJira, tracker: JiraTracker, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """A resolution is known, the field of another screen is not, whichever of them Jira names first."""
    listed = jira._transitions
    by_hand = {"customfield_1": {**RESOLUTION["resolution"], "name": "Signed off by", "allowedValues": []}}

    def two_ways(key: str) -> list[dict[str, object]]:
        [way] = [row for row in listed(key) if row["to"]["name"] == "Closed"]
        return [{**way, "id": "7", "fields": by_hand}, {**way, "id": "8", "fields": RESOLUTION}]

    monkeypatch.setattr(jira, "_transitions", two_ways)
    assert tracker.transition("USER-12", status)
    assert jira.calls[-1].body == {"transition": {"id": "8"}, "fields": {"resolution": {"name": "Done"}}}


def test_several_statuses_of_a_category_are_named(jira: FakeJira, tracker: JiraTracker) -> None:
    """What was deployed is not moved to Rejected because that is done as well; one of them by its name is taken."""
    jira.statuses["Rejected"] = "Done"
    with pytest.raises(Rejected) as caught:
        tracker.transition("USER-12", "Done")
    assert caught.value.reason == "several_statuses"
    assert "Closed or Rejected" in caught.value.detail
    assert tracker.transition("USER-12", "closed")


def test_a_screen_without_comments_does_not_keep_an_issue_from_moving(jira: FakeJira, tracker: JiraTracker) -> None:
    """It is moved without, and the comment is written afterwards."""
    jira.takes_comments_in_transitions = False
    assert tracker.transition("USER-12", "Closed", SECTIONS, MARKER) is True
    assert jira.texts("USER-12") == []
    assert tracker.comment("USER-12", SECTIONS, MARKER) is True
    assert len(jira.texts("USER-12")) == 1


def test_a_comment_is_written_once(jira: FakeJira, tracker: JiraTracker) -> None:
    """However often it is asked for, also after an answer was lost; another marker is another comment."""
    assert [tracker.comment("USER-12", SECTIONS, MARKER) for _ in range(3)] == [True, False, False]
    assert tracker.comment("USER-12", SECTIONS, f"{MARKER}1") is True
    assert tracker.comment("USER-12", SECTIONS, MARKER) is False
    assert len(jira.issues["USER-12"].comments) == 2


def test_a_marker_that_begins_like_another_is_another(jira: FakeJira, tracker: JiraTracker) -> None:
    """Deployment 7 is not found in what was said of deployment 71."""
    assert tracker.comment("USER-12", SECTIONS, "shipmate deployment 71") is True
    assert tracker.comment("USER-12", SECTIONS, "shipmate deployment 7") is True


def test_a_link_replaces_an_earlier_one(jira: FakeJira, tracker: JiraTracker) -> None:
    """By its global id."""
    link = RemoteLink("deployment:7", "https://ci.example.com/7", "user-service 1.4.2 → staging", "running")
    tracker.link("USER-12", link)
    tracker.link("USER-12", RemoteLink("deployment:7", "https://ci.example.com/7", "done", is_done=True))
    [kept] = jira.issues["USER-12"].remote_links.values()
    assert (kept["object"]["title"], kept["object"]["status"]) == ("done", {"resolved": True})
    with pytest.raises(Rejected):
        tracker.link("USER-12", RemoteLink("x", "javascript:alert(1)", "bad"))


def test_issues_are_related_once(jira: FakeJira, tracker: JiraTracker) -> None:
    """A link of that type and direction is made where there is none."""
    jira.add("USER-13")
    assert tracker.relate("USER-12", "USER-13", "Blocks") is True
    assert tracker.relate("USER-12", "USER-13", "Blocks") is False
    assert tracker.relate("USER-12", "USER-13", "Relates") is True


def test_a_fix_version_is_added_and_made_where_it_is_missing(jira: FakeJira, tracker: JiraTracker) -> None:
    """Once; the project's id is a number there."""
    tracker.add_fix_version("USER-12", "1.4.2")
    tracker.add_fix_version("USER-12", "1.4.2")
    assert jira.issues["USER-12"].fix_versions == ["1.4.2"]
    assert [version["name"] for version in jira.versions["USER"]] == ["1.4.2"]


def test_a_fix_version_that_somebody_else_makes_meanwhile_is_added(
    jira: FakeJira, tracker: JiraTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two issues of one deployment are told at the same time: Jira refuses to make it a second time."""
    answer = jira.answer

    def after_others(call: Call) -> Answer:
        if call.method == "POST" and call.path.endswith("/version") and not jira.versions["USER"]:
            jira.release("1.4.2")
        return answer(call)

    monkeypatch.setattr(jira, "answer", after_others)
    tracker.add_fix_version("USER-12", "1.4.2")
    assert jira.issues["USER-12"].fix_versions == ["1.4.2"]
    jira.fail("api/3/version", 400, {"errors": {"name": "too long"}})
    with pytest.raises(Rejected, match="too long"):
        tracker.add_fix_version("USER-12", "1.4.3")


def test_a_version_is_found_with_its_project(jira: FakeJira, tracker: JiraTracker) -> None:
    """A webhook tells its id alone."""
    told = jira.release("2.0", "PAY")["version"]
    found = tracker.find(Release(told["id"], "2.0", project_id=str(told["projectId"])))
    assert found == Release(told["id"], "2.0", "PAY", "101", is_released=True)
    assert tracker.find(Release("1", "2.0")) is None


@pytest.mark.parametrize(
    ("status", "body", "error", "reason"),
    [
        (401, None, AuthFailed, "http_401"),
        (403, None, AuthFailed, "http_403"),
        (409, None, Unavailable, "conflict"),
        (429, None, RateLimited, "rate_limited"),
        (302, None, Unavailable, "bad_answer"),
        (503, None, Unavailable, "http_503"),
        (400, {"errorMessages": ["No."], "errors": {"summary": "Too long."}}, Rejected, "refused"),
        (200, b"<html>Log in</html>", Unavailable, "bad_answer"),
        (200, [1], Unavailable, "bad_answer"),
    ],
)
def test_answers_are_told_apart(
    jira: FakeJira, tracker: JiraTracker, status: int, body: object, error: type[Exception], reason: str
) -> None:
    """What will pass, what an operator must see to, and what will never work."""
    jira.fail("issue/USER-12", status, body)
    with pytest.raises(error) as caught:
        tracker.issue("USER-12")
    assert caught.value.reason == reason  # type: ignore[attr-defined]  # each is an IntegrationError
    if status == 400:
        assert "No.; summary: Too long." in str(caught.value)
    if status == 429:
        assert caught.value.retry_after_s == 7.0  # type: ignore[attr-defined]  # as above


def test_a_change_whose_answer_is_lost_is_in_doubt(jira: FakeJira, tracker: JiraTracker) -> None:
    """A server error after a change may hide that it was made."""
    jira.fail("/transitions", 200, {"transitions": [{"id": "41", "to": {"name": "Closed"}}]})
    jira.fail("/transitions", 500)
    with pytest.raises(OutcomeUnknown):
        tracker.transition("USER-12", "Closed")


def test_data_center_takes_wiki_markup(connect: Connect, data_center: FakeJira) -> None:
    """REST v2: a text, escaped; found again by its marker."""
    tracker = connect(data_center).tracker
    assert tracker.comment("USER-12", SECTIONS, MARKER) is True
    assert tracker.comment("USER-12", SECTIONS, MARKER) is False
    body = data_center.issues["USER-12"].comments[0]["body"]
    assert body.startswith(
        "*Deployment*\n\nDeployed *1.4.2* to {{staging}}\nby Ada\n\n* ✅ health\n* [build|https://ci"
    )
    assert "{noformat}\nline one\n\n{ noformat}line three\n{noformat}" in body
    assert body.endswith(f"~{MARKER}~")
    assert tracker.transition("USER-12", "Closed", SECTIONS, "other") is True
    assert len(data_center.issues["USER-12"].comments) == 2


def test_plain_text_is_left_as_it_is(connect: Connect, data_center: FakeJira) -> None:
    """Where the field's renderer shows text as it stands."""
    connect(data_center, markup="plain").tracker.comment("USER-12", SECTIONS, MARKER)
    body = data_center.issues["USER-12"].comments[0]["body"]
    assert "Deployed 1.4.2 to staging\nby Ada" in body
    assert "- build (https://ci.example.com/7)\n- … +2" in body
    assert body.endswith(f"\n\n{MARKER}")


def test_the_probe_says_who_we_are_and_what_is_missing(connect: Connect, jira: FakeJira) -> None:
    """The account's name and the projects; a project that is not shown to us is named."""
    assert connect(jira).probe() == "Jira Cloud as Shipmate Bot, USER, PAY, webhooks are signed"
    with pytest.raises(Rejected) as caught:
        connect(jira, projects=["USER", "SHOP"]).probe()
    assert "sees no project SHOP" in caught.value.detail
