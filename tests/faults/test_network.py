"""Calls to the chat platforms that go wrong on their way: in the end one card stands in each place, with the end."""

from __future__ import annotations

import pytest

from integrations.http import CALL_DEADLINE_S
from tests.faults.proxy import Kind, answer, fault
from tests.faults.scene import CARD, CHANGE, POST, ROBOT, Faulty
from tests.scenarios.running import OPS_GROUP, fresh

pytestmark = pytest.mark.one_engine

LATER_S = CALL_DEADLINE_S + 1.0  # when the bot has hung up
MET_S = 60.0  # a post that is broken off twice is made anew after ten seconds each, however quick the machine is
PAGE = answer(200, "<html><body>Welcome to the guest network</body></html>", "Content-Type: text/html")
LOGIN = answer(302, "", "Location: http://127.0.0.1:9/login")
BROKEN = answer(500, "oops")
GATEWAY = answer(502, "<html>Bad Gateway</html>", "Content-Type: text/html")
BUSY = answer(503, "")
ONCE: dict[str, tuple[Kind, bytes]] = {
    "unread": (Kind.RESET_UNREAD, b""),
    "lost": (Kind.LOSE_ANSWER, b""),
    "cut": (Kind.CUT_ANSWER, b""),
    "unframed": (Kind.CUT_UNFRAMED, b""),
    "page": (Kind.SAY, PAGE),
    "redirected": (Kind.SAY, LOGIN),
    "500": (Kind.SAY, BROKEN),
    "502": (Kind.SAY, GATEWAY),
    "503": (Kind.SAY, BUSY),
}


def test_a_post_that_meets_a_fault_stands_once(faulty: Faulty) -> None:
    """Reset, lost, cut off, answered by a page or an error, or late: one card in Slack and one in DingTalk, at its end.

    Each fault meets the opening of a card in a lane of its own, once on each platform, all at the same time.
    """
    faults = {
        lane: [fault(kind, path, f"lane-{lane}-", times=1, answer=said) for path in (POST, CARD)]
        for lane, (kind, said) in ONCE.items()
    }
    early = [fault(Kind.RESET_BEFORE_BODY, path, times=1) for path in (POST, CARD)]  # whichever lane comes first
    faults["late"] = [fault(Kind.HOLD, path, "lane-late-", times=1, seconds=LATER_S) for path in (POST, CARD)]
    faulty.chat.breaks(*early, *(one for pair in faults.values() for one in pair))
    projects = faulty.begin(*faults)
    scene = faulty.scene
    scene.eventually(lambda: all(one.met for pair in faults.values() for one in pair), "all faults to be met", MET_S)
    for project in projects.values():
        scene.tell(project, 1, "finished", status="success")
    for lane, project in projects.items():
        faulty.card(lane, project, f"✅ {project}")
    assert [one.met for one in early] == [1, 1]
    assert {lane: len(faulty.posts(project)) for lane, project in projects.items()} == dict.fromkeys(faults, 1)


def test_a_change_that_meets_a_fault_stands_once(faulty: Faulty) -> None:
    """The same for changes: the card that stood shows the end, and no other one is posted."""
    projects = faulty.begin(*ONCE)
    for lane, project in projects.items():
        faulty.card(lane, project, f"⏳ {project}")
    faults = {
        lane: [
            fault(kind, path, f"lane-{lane}-", times=1, answer=said)
            for path in (CHANGE, "PUT /dingtalk/api/v1.0/card/instances")
        ]
        for lane, (kind, said) in ONCE.items()
    }
    faulty.chat.breaks(*(one for pair in faults.values() for one in pair))
    for project in projects.values():
        faulty.scene.tell(project, 1, "finished", status="success")
    for lane, project in projects.items():
        faulty.card(lane, project, f"✅ {project}")
    assert all(one.met for pair in faults.values() for one in pair)
    assert {lane: len(faulty.posts(project)) for lane, project in projects.items()} == dict.fromkeys(ONCE, 1)


@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE_BODY, Kind.CUT_ANSWER], ids=["before the body", "in the answer"])
def test_a_robots_post_that_meets_a_fault_is_made_again(faulty: Faulty, kind: Kind) -> None:
    """A robot cannot be asked what it posted: what got no answer is posted again, and may stand there a second time."""
    project = fresh("ops")
    met = fault(kind, ROBOT, times=1)
    faulty.chat.breaks(met)
    faulty.scene.tell(project, 1, "started")
    posted = 1 if kind is Kind.RESET_BEFORE_BODY else 2
    scene = faulty.scene
    scene.eventually(lambda: len(scene.cards(OPS_GROUP, f"{project} #1")) == posted and met.met, "the post", 20.0)
    scene.eventually(lambda: faulty.reason(project, "dingtalk") == "repeated", "the answer")
    assert len(scene.cards(OPS_GROUP, f"{project} #1")) == posted
