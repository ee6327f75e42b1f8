"""Which change of an issue starts which deployment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.domain.issues import ChangeKind, Issue, IssueChange, Release
from bot.domain.triggers import Trigger, circle, fired, may_fire, outdated, version_names

AT = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
ISSUE = Issue("USER-12", "Log in", "Ready for Staging", kind="Story", fix_versions=("1.4.2",), project="USER")
MOVED = IssueChange(ChangeKind.STATUS_REACHED, "changelog:7:status", "Ready for Staging", AT, ISSUE)
LABELED = IssueChange(ChangeKind.LABEL_ADDED, "changelog:8:label:deploy-user", "deploy-user", AT, ISSUE)
RELEASED = IssueChange(
    ChangeKind.VERSION_RELEASED, "version:7", "user-service 1.4.2", AT, release=Release("7", "user-service 1.4.2")
)


def trigger(kind: ChangeKind = ChangeKind.STATUS_REACHED, value: str = "ready for staging", **changed: Any) -> Trigger:
    """A trigger that deploys user-service to staging."""
    known = {"name": "triggers[0]", "service": "user-service", "environment": "staging", "version": "{{fix_version}}"}
    return Trigger(**{"tracker": "jira", "kind": kind, "value": value, **known, **changed})


def test_a_status_fires_in_any_case() -> None:
    """The configured name, however it is written, with the issue's fix version."""
    [firing] = fired([trigger()], MOVED)
    assert (firing.version, firing.problem) == ("1.4.2", "")
    assert firing.key == "jira:changelog:7:status:user-service:staging"


@pytest.mark.parametrize(
    "changed",
    [
        {"value": "Done"},
        {"types": ("Bug",)},
        {"projects": ("PAY",)},
        {"kind": ChangeKind.LABEL_ADDED},
    ],
)
def test_what_does_not_match_fires_nothing(changed: dict[str, Any]) -> None:
    """Status, type, project and kind must all be those of the trigger."""
    assert fired([trigger(**changed)], MOVED) == []
    assert not may_fire([trigger(**changed)], MOVED)


def test_types_and_projects_are_alternatives() -> None:
    """One of several is enough."""
    assert len(fired([trigger(types=("Bug", "story"), projects=("pay", "user"))], MOVED)) == 1


def test_a_label_fires() -> None:
    """The label added is a name that the version may use."""
    [firing] = fired([trigger(ChangeKind.LABEL_ADDED, "Deploy-User", version="{{label}}-{{key}}")], LABELED)
    assert firing.version == "deploy-user-USER-12"


def test_a_version_fires_by_its_whole_name_and_lends_its_parts() -> None:
    """Groups of the expression fill the template; a part of a name is no match."""
    by_name = trigger(ChangeKind.VERSION_RELEASED, r"user-service v?(?P<number>\d+\.\d+\.\d+)", version="v{{number}}")
    [firing] = fired([by_name], RELEASED)
    assert firing.version == "v1.4.2"
    assert fired([replace(by_name, value="user-service")], RELEASED) == []
    assert fired([replace(by_name, value=r".*", version="{{version}}")], RELEASED)[0].version == "user-service 1.4.2"


def test_a_version_of_unknown_project_is_kept_until_it_is_known() -> None:
    """Its webhook names no project's key: nothing fires yet, and it is not thrown away either."""
    bound = trigger(ChangeKind.VERSION_RELEASED, ".*", version="{{version}}", projects=("USER",))
    assert fired([bound], RELEASED) == []
    assert may_fire([bound], RELEASED)
    assert RELEASED.release is not None
    known = replace(RELEASED, release=replace(RELEASED.release, project="USER"))
    assert len(fired([bound], known)) == 1
    other = replace(RELEASED, release=replace(RELEASED.release, project="PAY"))
    assert not may_fire([bound], other)


def test_an_issue_of_unknown_type_is_kept_until_it_is_known() -> None:
    """A webhook may leave out the fields; one that names another project is not kept all the same."""
    bare = replace(MOVED, issue=Issue("USER-12", "", "", project="USER"))
    assert fired([trigger(types=("Story",))], bare) == []
    assert may_fire([trigger(types=("Story",))], bare)
    assert not may_fire([trigger(types=("Story",), projects=("PAY",))], bare)


@pytest.mark.parametrize(
    ("versions", "template", "problem"),
    [
        ((), "{{fix_version}}", "no_fix_version"),
        (("1", "2"), "{{ fix_version }}", "several_fix_versions"),
        (("1.4\x00",), "{{fix_version}}", "bad_version"),
        (("1" * 300,), "{{fix_version}}", "bad_version"),
        ((), "{{label}}", "bad_version"),
        ((), "latest green", ""),
        (("1", "2"), "{{key}}", ""),
    ],
)
def test_a_version_that_cannot_be_named_is_a_problem(versions: tuple[str, ...], template: str, problem: str) -> None:
    """It is said why; a template that needs no fix version does not ask for one."""
    change = replace(MOVED, issue=replace(ISSUE, fix_versions=versions))
    [firing] = fired([trigger(version=template)], change)
    assert firing.problem == problem
    assert bool(firing.version) == (not problem)


def test_two_triggers_of_one_target_fire_once() -> None:
    """A service and environment are deployed to once for one change; another environment is another firing."""
    triggers = [trigger(), trigger(name="triggers[1]"), trigger(name="triggers[2]", environment="qa")]
    assert [firing.trigger.name for firing in fired(triggers, MOVED)] == ["triggers[0]", "triggers[2]"]


def test_the_key_of_a_firing_does_not_depend_on_how_it_was_told() -> None:
    """A late copy, seen with other facts and after the file was reordered, has the same key."""
    late = replace(MOVED, issue=replace(ISSUE, title="Log in!", fix_versions=("1.4.3",)))
    [first], [second] = fired([trigger()], MOVED), fired([trigger(name="triggers[5]")], late)
    assert first.key == second.key


def test_the_key_of_a_firing_is_bounded() -> None:
    """And still its own."""
    long = replace(MOVED, key="k" * 200)
    [first], [second] = fired([trigger()], long), fired([trigger(service="other")], long)
    assert len(first.key) <= 180
    assert first.key != second.key


def test_a_change_counts_only_while_it_is_true() -> None:
    """Moved on, or label taken away: the change is outdated, and says why."""
    assert outdated(MOVED, ISSUE) == ""
    assert outdated(MOVED, replace(ISSUE, status="Done")) == "status_moved_on"
    assert outdated(LABELED, replace(ISSUE, labels=("x", "Deploy-User"))) == ""
    assert outdated(LABELED, ISSUE) == "label_removed"


def test_triggers_that_start_each_other_are_found() -> None:
    """By success or failure, directly or over another one."""
    first = trigger(name="a", value="Ready", on_success="In Staging")
    second = trigger(name="b", value="in staging", on_failure="READY")
    assert circle([first, second]) == ("a", "b")
    assert circle([trigger(name="c", value="Ready", on_failure="ready")]) == ("c",)
    assert circle([first, replace(second, on_failure="Broken")]) == ()
    assert circle([first, trigger(ChangeKind.LABEL_ADDED, "In Staging", on_success="Ready")]) == ()


def test_templates_know_their_names() -> None:
    """An expression's groups are names of its own template only."""
    assert version_names(ChangeKind.VERSION_RELEASED, r"(?P<number>.*)") == {"number", "version", "project"}
    assert "fix_version" in version_names(ChangeKind.LABEL_ADDED, "deploy")
