"""The neutral cards as Slack gets them, whole: messages and modals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from integrations.slack.render import render, render_modal
from tests.cards.cases import cards, notices

HERE = Path(__file__).parent
CONTENTS = {**cards(), **notices()}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_place_gets_this_message(name: str, golden: Callable[[Path, object], None]) -> None:
    """The arguments of chat.postMessage and chat.update."""
    golden(HERE / f"{name}.slack.golden.json", dict(render(CONTENTS[name]).payload))


@pytest.mark.parametrize("name", ["typical.en", "decided.zh-CN"])
def test_a_window_shows_this_view(name: str, golden: Callable[[Path, object], None]) -> None:
    """The view of views.open and views.update."""
    golden(HERE / f"{name}.slack_modal.golden.json", render_modal(cards()[name]))
