"""Platforms that ask for a pause, in all the ways they do it: that place is left alone meanwhile, others go on."""

from __future__ import annotations

import pytest

from tests.faults.proxy import Kind, answer, fault
from tests.faults.scene import CARD, POST, Faulty

pytestmark = pytest.mark.one_engine

LIMITED = '{"ok": false, "error": "ratelimited"}'
THROTTLED = '{"code": "Forbidden.AccessDenied.QpsLimitForApi", "message": "limited", "requestid": "R"}'
JSON = "Content-Type: application/json"
SILENT_SLACK_S, SILENT_DINGTALK_S = 30.0, 60.0  # what we wait where nothing sensible was said


@pytest.mark.parametrize(
    ("lane", "asked", "slack_s", "dingtalk_s"),
    [
        ("hour", "Retry-After: 3600", 3600.0, 3600.0),
        ("silent", "X-Nothing: 1", SILENT_SLACK_S, SILENT_DINGTALK_S),
        ("soon", "Retry-After: soon", SILENT_SLACK_S, SILENT_DINGTALK_S),
        ("endless", "Retry-After: inf", SILENT_SLACK_S, SILENT_DINGTALK_S),
    ],
)
def test_a_pause_is_kept_and_then_the_card_appears(
    faulty: Faulty, lane: str, asked: str, slack_s: float, dingtalk_s: float
) -> None:
    """The place rests as long as it was told, or a moment where that makes no sense; a place beside it does not."""
    faulty.chat.breaks(
        fault(Kind.SAY, POST, f"lane-{lane}-", answer=answer(429, LIMITED, JSON, asked)),
        fault(Kind.SAY, CARD, f"lane-{lane}-", answer=answer(429, THROTTLED, JSON, asked)),
    )
    project = faulty.begin(lane)[lane]
    scene = faulty.scene
    for platform in ("slack", "dingtalk"):
        scene.eventually(
            lambda platform=platform: faulty.reason(project, platform).startswith("paused:"), f"the pause of {platform}"
        )
    rests = faulty.rests_s(project)
    assert rests == {"slack": pytest.approx(slack_s, abs=15.0), "dingtalk": pytest.approx(dingtalk_s, abs=15.0)}
    faulty.chat.breaks()
    scene.tell(project, 1, "finished", status="success")
    well = faulty.begin("well")["well"]
    scene.card("#well", f"{well} #1")
    assert faulty.posts(project) == []
    scene.let_pass(max(slack_s, dingtalk_s))
    faulty.card(lane, project, f"✅ {project}")
