"""The fold: whatever the order and however often events come, the same state comes out."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.builds import BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.events import Event, EventKind
from bot.domain.folding import Folded, fold
from bot.domain.subjects import SubjectKey, SubjectKind
from tests.fakes import EPOCH

KEY = SubjectKey(SubjectKind.BUILD, "buildbot", "user-service", "12")


def _event(
    facts: BuildFacts,
    phase: Phase = Phase.RUNNING,
    *,
    at: datetime = EPOCH,
    generation: int = 0,
    attempt: int = 1,
) -> Event:
    return Event("buildbot", "key", EventKind.BUILD_PROGRESSED, KEY, at, phase, facts, generation, attempt)


_stages = st.lists(st.builds(Stage, st.sampled_from("ab"), st.sampled_from(StageStatus)), max_size=2).map(tuple)
_facts = st.builds(
    BuildFacts,
    status=st.none() | st.sampled_from(BuildStatus),
    branch=st.none() | st.sampled_from(("main", "dev")),
    started_at=st.none() | st.integers(0, 3).map(lambda s: EPOCH + timedelta(seconds=s)),
    stages=st.none() | _stages,
    failed_tests=st.none() | st.sampled_from(((), (FailedTest("t", "why"),))),
    retried_as=st.none() | st.sampled_from(("13", "14")),
)
_events = st.builds(
    _event,
    _facts,
    st.sampled_from(Phase),
    at=st.integers(0, 3).map(lambda s: EPOCH + timedelta(seconds=s)),
    generation=st.integers(0, 1),
    attempt=st.integers(1, 2),
)


def _folded(events: list[Event]) -> Folded | None:
    state = None
    for event in events:
        state = fold(state, event)
    return state


@given(st.data(), st.lists(_events, min_size=1, max_size=8))
def test_any_order_and_duplication_ends_in_the_same_state(data: st.DataObject, events: list[Event]) -> None:
    """Events of several attempts and generations, with equal instants, repeated and shuffled, fold to one state."""
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=6))
    shuffled = data.draw(st.permutations([*events, *repeated]))
    assert _folded(shuffled) == _folded(events)


@given(st.lists(_events, min_size=1, max_size=8))
def test_a_stored_state_is_read_back_whole(events: list[Event]) -> None:
    """A state survives its JSON form, and an event that is folded already changes nothing."""
    state = _folded(events)
    assert state is not None
    assert Folded.from_json(state.to_json()) == state
    assert fold(state, events[0]) is state


def test_a_late_running_never_overwrites_success() -> None:
    """A "running" that arrives last, even with a later time, leaves the success as it is."""
    done = fold(None, _event(BuildFacts(status=BuildStatus.SUCCESS), Phase.FINISHED))
    late = fold(done, _event(BuildFacts(status=BuildStatus.RUNNING), at=EPOCH + timedelta(hours=1)))
    assert late.build(KEY).status is BuildStatus.SUCCESS
    assert late.build(KEY).is_finished


def test_a_new_attempt_begins_anew() -> None:
    """A re-run under the same number runs again and knows nothing of the first one's end."""
    facts = BuildFacts(status=BuildStatus.FAILED, log_excerpt="boom")
    first = fold(None, _event(facts, Phase.FINISHED))
    second = fold(first, _event(BuildFacts(status=BuildStatus.RUNNING), attempt=2)).build(KEY)
    assert (second.status, second.attempt, second.is_finished) == (BuildStatus.RUNNING, 2, False)
    assert second.facts.log_excerpt is None


def test_a_finished_build_without_status_is_unknown() -> None:
    """A source that tells only the end leaves the outcome unknown instead of running."""
    build = fold(None, _event(BuildFacts(), Phase.FINISHED)).build(KEY)
    assert build.status is BuildStatus.UNKNOWN
    assert build.duration_s is None
