"""Looking at what may not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from unittest.mock import Mock

import pytest

from bot import look
from bot.look import Look

PATIENCE_S = 30.0


class Source:
    """Counts how often it is asked; says so, unless it is held up."""

    def __init__(self) -> None:
        self.asked = 0
        self._may_answer = threading.Event()
        self._may_answer.set()

    def __call__(self) -> str:
        """Answer."""
        self.asked += 1
        assert self._may_answer.wait(PATIENCE_S)
        return f"answer {self.asked}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """It does not answer meanwhile."""
        self._may_answer.clear()
        yield
        self._may_answer.set()


def test_what_answers_is_asked_each_time() -> None:
    """The answer is that of now."""
    asking = Look(Source(), "late")
    assert [asking(), asking()] == ["answer 1", "answer 2"]


def test_what_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes, in whatever number, holds up one thread, and later ones wait for nothing; then all is well."""
    source = Source()
    asking = Look(source, "late")
    with source.held():
        monkeypatch.setattr(look, "LOOK_S", 0.1)
        with ThreadPoolExecutor(8) as pool:
            assert {one.result(PATIENCE_S) for one in [pool.submit(asking) for _ in range(8)]} == {"late"}
        monkeypatch.setattr(look, "LOOK_S", PATIENCE_S)
        began = monotonic()
        assert asking() == "late"
        assert monotonic() - began < PATIENCE_S / 2
        assert source.asked == 1
    while (said := asking()) == "late":
        assert monotonic() - began < PATIENCE_S
    assert said in ("answer 1", "answer 2")


def test_who_comes_while_it_is_asked_hears_the_same() -> None:
    """One question is enough for all who want to know at the same time."""
    source = Source()
    asking = Look(source, "late")
    with ThreadPoolExecutor(2) as pool:
        with source.held():
            both = [pool.submit(asking) for _ in range(2)]
            while source.asked == 0:
                assert not any(one.done() for one in both)
        assert {one.result(PATIENCE_S) for one in both} <= {"answer 1", "answer 2"}


def test_what_goes_wrong_is_told_to_who_asked() -> None:
    """An error is no late answer."""

    def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Look(fail, "late")()


def test_who_could_not_ask_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread could be begun once the next one who comes asks again."""
    asking = Look(Source(), "late")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError):
            asking()
    assert asking() == "answer 1"
