"""What changes by itself in a text, and what must never be taken for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.domain.builds import Build, BuildFacts, FailedTest, Phase, Stage, StageStatus
from bot.domain.volatile import steady, without_volatile, without_volatile_query
from tests.stores import key_of

_lengths = st.integers(0, 9999)
_hex_ids = st.integers(0, 16**32 - 1).map(lambda n: f"{n:032x}").filter(lambda one: not one.isalpha())
VOLATILE = {
    "duration": st.one_of(
        _lengths.map("{} s".format),
        _lengths.map("{}ms".format),
        st.floats(0, 999).map(lambda s: f"{s:.1f}s"),
        st.tuples(_lengths, st.integers(0, 59)).map(lambda one: f"{one[0]}m {one[1]}s"),
        st.tuples(_lengths, st.integers(0, 59)).map(lambda one: f"{one[0]} h {one[1]} min"),
        st.tuples(_lengths, st.integers(0, 59)).map(lambda one: f"{one[0]}h{one[1]:02}m07.5s"),
        st.tuples(_lengths, _lengths).map(lambda one: f"{one[0]} minutes and {one[1]} seconds"),
        _lengths.map("{} 秒".format),
        st.tuples(_lengths, st.integers(0, 59)).map(lambda one: f"{one[0]} 分 {one[1]} 秒"),
        st.just("<1 s"),
    ),
    "moment": st.one_of(
        st.datetimes().filter(lambda at: at.year >= 1000).map(datetime.isoformat),
        st.datetimes().filter(lambda at: at.year >= 1000).map("{:%Y-%m-%d %H:%M}Z".format),
    ),
    "clock": st.one_of(st.times().map("{:%H:%M:%S}".format), st.times().map("{:%H:%M}".format)),
    "epoch": st.integers(1_500_000_000, 1_999_999_999).flatmap(lambda s: st.sampled_from((f"{s}", f"{s}123"))),
    "uuid": st.uuids().map(str),
    "hex": _hex_ids.filter(lambda one: any(char in "abcdef" for char in one)),
    "address": st.integers(2**24, 2**48 - 1).map("{:#x}".format),
}
TELLING = (
    "1 failed",
    "2 failed",
    "12 of 30",
    "99 %",
    "5 MB",
    "1.2.3",
    "1.2.4",
    "v1.2",
    "2.0.1700000000",
    "OPS-12",
    "OPS-13",
    "#17",
    "#18",
    "#1700000001",
    "2026-11-21",
    "2026-11-22",
    "localhost:8080",
    "10.0.0.1:8081",
    "main.py:12:34",
    "9fceb02d0a",
    "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "1fceb02d0ae598e95dc970b74767f19372d61af8",
    "sha256:" + "0a" * 32,
    "sha256:" + "1b" * 32,
    "5分",
    "6分",
    "build 5",
    "3M",
    "x86_64",
    "eu-west-1",
    "failed",
    "passed",
)
_gaps = st.sampled_from((" ", " (", ") ", "：", " — ", "[", "] ", "\n"))
_kinds = st.sampled_from(sorted(VOLATILE))
_words = st.sampled_from(TELLING)


@given(st.data(), _kinds, _words, _words, _gaps, _gaps)
def test_what_changes_by_itself_is_no_difference(
    data: st.DataObject, kind: str, before: str, after: str, gap: str, next_gap: str
) -> None:
    """Two texts that differ in one duration, time or id are the same, wherever it stands."""
    one, other = data.draw(VOLATILE[kind]), data.draw(VOLATILE[kind])
    first, second = (f"{before}{gap}{part}{next_gap}{after}" for part in (one, other))
    assert without_volatile(first) == without_volatile(second)


@given(st.data(), _kinds, _words, _words, _gaps, _gaps)
def test_what_tells_something_is_a_difference(
    data: st.DataObject, kind: str, one: str, other: str, gap: str, next_gap: str
) -> None:
    """Two texts that differ in a name, a count or a version do so beside whatever changes by itself, too."""
    assume(one != other)
    ticking, later = data.draw(VOLATILE[kind]), data.draw(VOLATILE[kind])
    for first, second in ((f"{one}{gap}{ticking}", f"{other}{gap}{later}"), (f"({one})", f"({other})")):
        assert without_volatile(f"{next_gap}{first}") != without_volatile(f"{next_gap}{second}")


@pytest.mark.parametrize("word", TELLING)
def test_what_tells_something_stays_as_it_is(word: str) -> None:
    """A name, a count or a version is not touched."""
    assert without_volatile(f"Tests {word} on main") == f"Tests {word} on main"


@given(st.text(st.characters(exclude_characters="0123456789")))
def test_a_text_without_digits_is_never_touched(text: str) -> None:
    """Words alone always count, in any script."""
    assert without_volatile(text) == text


_NEAR = st.text("0123456789abfsmhT :.,-/#()<xZ分秒é", max_size=40)


@given(_NEAR | st.lists(_words | st.one_of(*VOLATILE.values()) | _NEAR).map("".join))
def test_a_masked_text_is_not_longer(text: str) -> None:
    """So nothing that a platform has room for is pushed out of sight."""
    assert len(without_volatile(text)) <= len(text)


@given(_NEAR)
def test_what_is_no_part_of_a_time_is_kept(text: str) -> None:
    """Whatever stands between: brackets, the mark of a build's number and letters of no unit all stay, in order."""
    kept = [char for char in text if char in "é#()"]
    assert [char for char in without_volatile(text) if char in "é#()"] == kept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://ci/b?run_id=12&x=3", "https://ci/b?run_id=13&x=3"),
        ("https://ci/b?id=3f2b1c4d-1234-4abc-8def-0123456789ab", f"https://ci/b?id={UUID(int=0)}"),
        ("https://ci/a/1.log?X-Amz-Date=1&Expires=2", "https://ci/a/1.log?X-Amz-Date=20261121&Expires=9"),
        ("https://ci/job/1?_=1700000000", "https://ci/job/1?_=17"),
    ],
)
def test_an_address_may_name_a_run_or_a_moment(one: str, other: str) -> None:
    """What a query says of runs, moments and signatures changes by itself."""
    assert without_volatile_query(one) == without_volatile_query(other)


@pytest.mark.parametrize(
    "other", ["https://ci/job/13?branch=main", "https://ci/job/12?branch=dev", "https://ci/job/12"]
)
def test_an_address_that_leads_elsewhere_is_another_one(other: str) -> None:
    """Paths and what else a query says count, such as the number of a build."""
    assert without_volatile_query("https://ci/job/12?branch=main") != without_volatile_query(other)
    assert without_volatile_query("https://ci/r?buildId=12") != without_volatile_query("https://ci/r?buildId=13")


def test_a_build_stays_what_it_is() -> None:
    """Only the texts of others are masked, and lengths of stages: not status, branch, commit, people and times."""
    facts = BuildFacts(
        branch="fix-12s",
        commit="9fceb02d0ae598e95dc970b74767f19372d61af8",
        author="12s",
        commit_title="Wait 12s",
        stages=(Stage("Tests (12 s)", StageStatus.SUCCESS, 12.0), Stage("Package", StageStatus.RUNNING)),
        failed_tests=(FailedTest("test_wait[12s]", "after 12s"),),
    )
    build = Build(key_of(12), 2, Phase.RUNNING, facts)
    masked = replace(
        facts,
        commit_title="Wait 0s",
        stages=(Stage("Tests (0s)", StageStatus.SUCCESS, 0.0), Stage("Package", StageStatus.RUNNING)),
        failed_tests=(FailedTest("test_wait[12s]", "after 0s"),),
    )
    assert steady(build) == replace(build, facts=masked)
