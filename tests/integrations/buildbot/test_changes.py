"""What came between two builds, read from the row of changes."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.deployments import Version
from bot.errors import Unavailable
from bot.ports import Between, Commit
from integrations.buildbot import changes
from integrations.buildbot.reader import BuildbotReader
from tests.integrations.buildbot.stand_in import Answer, Call, StandIn, build, rows

PROJECT = "user-service"
OLD, NEW = (Version("x", "", f"build:buildbot/user-service#{number}") for number in (1, 2))


def change(number: int, branch: str = "main", revision: str = "", title: str = "") -> dict[str, Any]:
    """One change of the repository, by Ada."""
    return {
        "changeid": number,
        "branch": branch,
        "revision": revision or f"c{number}",
        "comments": title or f"Change {number}\n\nwith more words",
        "author": "Ada <ada@example.com>",
        "repository": "/srv/sample.git",
        "project": "",
        "codebase": "",
    }


class Changes:
    """Answers as Buildbot does: what the query leaves over, cut to its limit, and then the oldest first."""

    def __init__(self, stand_in: StandIn, *known: dict[str, Any]) -> None:
        self.known = known
        self.pages = 0
        self.fails_at: int | None = None
        stand_in.answers["GET changes"] = self.answer

    def answer(self, call: Call) -> Answer | Exception:
        """The changes of one call; the page `fails_at` is not given."""
        found = sorted(self.known, key=lambda one: -one["changeid"])
        if "revision" in call.query:
            found = [one for one in found if one["revision"] in call.query["revision"]]
        if "changeid__gt" in call.query:
            self.pages += 1
            if self.pages == self.fails_at:
                return 503, {"error": "busy"}
            low, high = (int(call.query[f"changeid__{name}"][0]) for name in ("gt", "le"))
            found = [one for one in found if low < one["changeid"] <= high]
        elif "changeid__le" in call.query:
            asked = {name: call.query[name] for name in ("branch", "repository")}
            found = [one for one in found if one["changeid"] <= int(call.query["changeid__le"][0])]
            found = [one for one in found if all(one[name] in words for name, words in asked.items())]
        limit = int(call.query.get("limit", ["1000"])[0])
        return rows("changes", *reversed(found[:limit]))


def built(stand_in: StandIn, first: object, last: object, branch: str | None = "main") -> None:
    """Two builds, of these revisions."""

    def of(revision: object) -> dict[str, Any]:
        told = {"got_revision": [revision, "Git"], "branch": [branch, "Build"]}
        return {name: value for name, value in told.items() if value[0] is not None}

    made = [build(2, properties=of(last)), build(1, properties=of(first))]
    stand_in.answers["GET builders/user-service/builds"] = rows("builds", *made)


def test_what_a_branch_has_since_is_told_in_three_calls(reader: BuildbotReader, stand_in: StandIn) -> None:
    """However many builds lie between; what came on other branches meanwhile is kept apart."""
    known = (change(1), change(2), change(3), change(4, "feature"), change(5), change(6))
    Changes(stand_in, *known, {**change(7), "repository": "/srv/other.git"})
    built(stand_in, "c2", "c5")
    assert reader.between(PROJECT, OLD, NEW, 100) == Between(
        (Commit("c5", "Change 5", "Ada"), Commit("c3", "Change 3", "Ada")), (Commit("c4", "Change 4", "Ada"),), "main"
    )
    assert len(stand_in.calls) == 3


def test_two_tags_are_measured_on_the_branch_that_has_both(reader: BuildbotReader, stand_in: StandIn) -> None:
    """A tag is a branch of its own with one change: what it brings came on the branch that it was set on."""
    tags = change(4, "v1", "c1"), change(7, "v2", "c6")
    Changes(stand_in, change(1), change(2, title="[irreversible]"), change(3, "feature"), tags[0], change(6), tags[1])
    built(stand_in, "c1", "c6", "v2")
    told = reader.between(PROJECT, OLD, NEW, 100)
    assert [one.revision for one in told.commits] == ["c6", "c2"]
    assert ([one.revision for one in told.aside], told.branch, told.is_all) == (["c3"], "v2", True)


HOTFIX = (change(1), change(2), change(3, title="[irreversible]"), change(4, "hotfix"), change(5))
TAGS = (change(6, "v1.0.1", "c4"), change(7, "v1.1", "c5"))


@pytest.mark.parametrize("branch", ["main", "v1.1"])
@pytest.mark.parametrize("known", [HOTFIX, HOTFIX + TAGS])
def test_from_a_hotfix_back_to_main_not_all_is_known(
    reader: BuildbotReader, stand_in: StandIn, known: tuple[dict[str, Any], ...], branch: str
) -> None:
    """What main had before the hotfix may not be part of that: where the two parted nobody here can tell."""
    Changes(stand_in, *known)
    built(stand_in, "c4", "c5", branch)
    told = reader.between(PROJECT, OLD, NEW, 100)
    assert "c5" in [one.revision for one in told.commits]
    assert (told.is_all, told.may_tell_more) == (False, False)


def test_from_main_to_a_hotfix_all_is_known(reader: BuildbotReader, stand_in: StandIn) -> None:
    """The hotfix began after what is there, or before it: it brings what its branch has, and that was all heard of."""
    Changes(stand_in, *HOTFIX)
    for first in ("c2", "c3", "c5"):
        built(stand_in, first, "c4", "hotfix")
        told = reader.between(PROJECT, OLD, NEW, 100)
        assert ([one.revision for one in told.commits], told.is_all) == (["c4"], True)
    Changes(stand_in, change(1, "hotfix"), *HOTFIX[1:])
    assert not reader.between(PROJECT, OLD, NEW, 100).is_all


def test_versions_that_are_branches_or_tags_alone_are_known(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Each has nothing of its own before the one before it, whatever else was pushed to the repository."""
    Changes(stand_in, change(1), change(2, "v1"), change(3), change(4, "v2"), change(5, "v2"))
    built(stand_in, "c2", "c5", "v2")
    told = reader.between(PROJECT, OLD, NEW, 100)
    assert [[one.revision for one in some] for some in (told.commits, told.aside)] == [["c5", "c4"], ["c3"]]
    assert told.is_all


def test_a_change_without_a_branch_is_not_all(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Nobody can ask what came there before."""
    Changes(stand_in, change(1, "hotfix"), {**change(2), "branch": None})
    built(stand_in, "c1", "c2", None)
    assert not reader.between(PROJECT, OLD, NEW, 100).is_all


def test_what_the_time_does_not_suffice_for_is_read_on_later(
    reader: BuildbotReader, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that does not come ends the reading; what came before it is told, and not asked for twice."""
    monkeypatch.setattr(changes, "PAGE", 10)
    told_of = Changes(stand_in, *(change(number) for number in range(1, 36)))
    built(stand_in, "c1", "c35")
    told_of.fails_at = 3
    first = reader.between(PROJECT, OLD, NEW, 100)
    assert (len(first.commits), first.is_all, first.may_tell_more) == (20, False, True)
    whole = reader.between(PROJECT, OLD, NEW, 100)
    assert (len(whole.commits), whole.is_all, told_of.pages) == (34, True, 5)
    assert reader.between(PROJECT, OLD, NEW, 100) == whole
    assert told_of.pages == 5


def test_a_source_that_is_away_at_the_first_page_is_an_error(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Nothing was read: who asks knows others who may tell."""
    Changes(stand_in, change(1), change(2)).fails_at = 1
    built(stand_in, "c1", "c2")
    with pytest.raises(Unavailable):
        reader.between(PROJECT, OLD, NEW, 100)


def test_more_than_is_wanted_is_not_all(reader: BuildbotReader, stand_in: StandIn) -> None:
    """The newest are told; asking again would bring no more."""
    Changes(stand_in, *(change(number) for number in range(1, 36)))
    built(stand_in, "c1", "c35")
    told = reader.between(PROJECT, OLD, NEW, 20)
    assert ([one.revision for one in told.commits][::19], told.is_all, told.may_tell_more) == (
        ["c35", "c16"],
        False,
        False,
    )


def test_changes_of_other_branches_count_too(
    reader: BuildbotReader, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take as long to read: where there are too many it is not said that asking again would help."""
    monkeypatch.setattr(changes, "PAGE", 10)
    others = (change(number, f"feature/{number}") for number in range(2, 35))
    Changes(stand_in, change(1), *others, change(35))
    built(stand_in, "c1", "c35")
    told = reader.between(PROJECT, OLD, NEW, 20)
    assert ([one.revision for one in told.commits], told.is_all, told.may_tell_more) == (["c35"], False, False)


@pytest.mark.parametrize(
    ("known", "is_all"),
    [((), True), ((change(1),), False), ((change(2),), False), ((change(9),), False)],
)
def test_a_commit_that_is_no_change_is_told_alone(
    reader: BuildbotReader, stand_in: StandIn, known: tuple[dict[str, Any], ...], is_all: bool
) -> None:
    """What lies between is unknown then, but for a Buildbot that hears of no changes at all: there is no more to it."""
    Changes(stand_in, *known)
    built(stand_in, "c1", "c2")
    told = reader.between(PROJECT, OLD, NEW, 100)
    assert ([one.revision for one in told.commits], told.is_all, told.may_tell_more) == (["c2"], is_all, False)


@pytest.mark.parametrize(("first", "last"), [("c2", "c2"), (None, None), ("c2", None)])
def test_the_same_commit_brings_nothing(reader: BuildbotReader, stand_in: StandIn, first: Any, last: Any) -> None:
    """Neither does a build that tells of none."""
    Changes(stand_in, change(2))
    built(stand_in, first, last)
    assert reader.between(PROJECT, OLD, NEW, 100) == Between(branch="main")


def test_an_older_commit_built_later_brings_nothing(reader: BuildbotReader, stand_in: StandIn) -> None:
    """It had been there before."""
    Changes(stand_in, change(1), change(2), change(3))
    built(stand_in, "c3", "c1")
    assert reader.between(PROJECT, OLD, NEW, 100) == Between(branch="main", is_back=True)


def test_several_codebases_are_read_each(reader: BuildbotReader, stand_in: StandIn) -> None:
    """A build of several repositories brings what is new in each that has another revision."""
    web = {"repository": "/srv/web.git", "codebase": "web"}
    Changes(stand_in, change(1), {**change(2), **web}, change(3), {**change(4), **web}, {**change(5), **web})
    built(stand_in, {"": "c1", "web": "c2"}, {"": "c3", "web": "c5"}, None)
    told = reader.between(PROJECT, OLD, NEW, 100)
    assert ({one.revision for one in told.commits}, told.is_all) == ({"c3", "c5", "c4"}, True)


def test_a_build_that_is_not_there_is_not_known(reader: BuildbotReader, stand_in: StandIn) -> None:
    """Buildbot has dropped it."""
    stand_in.answers["GET builders/user-service/builds"] = rows("builds", build(2))
    assert reader.between(PROJECT, OLD, NEW, 100) == Between(is_all=False)


@pytest.mark.parametrize("wrong", [{"got_revision": "c1"}, {"got_revision": ["c1", "Git", 3]}])
def test_properties_of_another_shape_are_no_crash(reader: BuildbotReader, stand_in: StandIn, wrong: Any) -> None:
    """What is not as documented is an error that names the field."""
    stand_in.answers["GET builders/user-service/builds"] = rows("builds", build(2, properties=wrong), build(1))
    with pytest.raises(Unavailable) as caught:
        reader.between(PROJECT, OLD, NEW, 100)
    assert caught.value.reason == "bad_answer"
