"""A Buildbot that fails while somebody asks it for something: one build is started, and the person hears of it."""

from __future__ import annotations

import pytest

from bot.services.checking import CERTAIN_AFTER_S
from tests.faults.proxy import Kind, answer, fault
from tests.faults.scene import PROJECT, Faulty
from tests.scenarios.running import CI

pytestmark = pytest.mark.one_engine

HTML = "Content-Type: text/html"
PAGE = answer(200, "<html>Sign in</html>", HTML)
LOGIN = answer(302, "", "Location: http://127.0.0.1:9/login")
BROKEN = answer(500, "<html>Internal Server Error</html>", HTML)
GATEWAY = answer(502, "<html>Bad Gateway</html>", HTML)
LIMITED = answer(429, "", "Retry-After: 1")
READ, TRIGGER = ("GET ",), ("POST ", '"rebuild"')
ONCE: dict[str, tuple[Kind, tuple[str, ...], bytes]] = {
    "read: reset": (Kind.RESET_UNREAD, READ, b""),
    "read: page": (Kind.SAY, READ, PAGE),
    "read: redirected": (Kind.SAY, READ, LOGIN),
    "read: error": (Kind.SAY, READ, BROKEN),
    "read: too fast": (Kind.SAY, READ, LIMITED),
    "trigger: reset": (Kind.RESET_UNREAD, TRIGGER, b""),
    "trigger: lost": (Kind.LOSE_ANSWER, TRIGGER, b""),
    "trigger: cut": (Kind.CUT_ANSWER, TRIGGER, b""),
    "trigger: page": (Kind.SAY, TRIGGER, PAGE),
    "trigger: error": (Kind.SAY, TRIGGER, GATEWAY),
    "trigger: no answer": (Kind.HOLD_ANSWER, TRIGGER, b""),
}


def test_a_retry_that_meets_a_fault_starts_one_build(faulty: Faulty) -> None:
    """Whether Buildbot had heard of it or not: it is asked what it did, and one build is started.

    Each fault meets a press of its own, all at the same time. Where Buildbot says that there is none, half a minute
    must have passed before another one is started.
    """
    scene, numbers = faulty.scene, {name: faulty.fail() for name in ONCE}
    cards = {name: scene.card(CI, f"{PROJECT} #{number}", "❌") for name, number in numbers.items()}
    scene.eventually(lambda: all(map(faulty.is_read, numbers.values())), "the builds to be read", 20.0)
    faults = {
        name: fault(kind, *words, f"/builds/{numbers[name]} HTTP", times=1, answer=said)
        for name, (kind, words, said) in ONCE.items()
    }
    faulty.ci.breaks(*faults.values())
    for card in cards.values():
        scene.click(CI, card, "retry")
    scene.eventually(lambda: all(one.met for one in faults.values()), "all faults to be met", 30.0)
    faulty.let_doubts_pass(CERTAIN_AFTER_S)
    scene.eventually(
        lambda: all(_done(faulty, number) for number in numbers.values()), "the builds to be started", 40.0
    )
    rebuilt = {name: faulty.buildbot.rebuilt.count(number) for name, number in numbers.items()}
    assert rebuilt == dict.fromkeys(ONCE, 1)
    assert [len(_done(faulty, number)) for number in numbers.values()] == [1] * len(ONCE)


def test_a_buildbot_that_is_down_for_a_moment_is_waited_for(faulty: Faulty) -> None:
    """Nobody listens there: the person hears nothing of that, but of the build that was started then."""
    number, scene = faulty.fail(), faulty.scene
    card = scene.card(CI, f"{PROJECT} #{number}", "❌")
    scene.eventually(lambda: faulty.is_read(number), "the build to be read")
    scene.all_answered()  # another test's people are told of their builds after that is on record
    faulty.ci.refuse()
    try:
        before = scene.whispers()
        scene.click(CI, card, "retry")
        scene.eventually(lambda: scene.audit("retry", f"{PROJECT}#{number} "), "the press to be taken up")
    finally:
        faulty.ci.accept()
    assert len(scene.eventually(lambda: _done(faulty, number), "the command to be done", 20.0)) == 1
    assert faulty.buildbot.rebuilt.count(number) == 1
    scene.whisper("U024ALICE01", "Started build", since=before)
    assert scene.whispers() == before + 1


def _done(faulty: Faulty, number: int) -> list[dict[str, object]]:
    return faulty.scene.audit("retry", f"{PROJECT}#{number} done:")
