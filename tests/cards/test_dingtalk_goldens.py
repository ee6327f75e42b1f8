"""The neutral cards as DingTalk gets them, whole: a robot's markdown and the interactive card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integrations.dingtalk.render import Manners, Shape, render
from tests.cards.cases import cards, notices

HERE = Path(__file__).parent
CONTENTS = {**cards(), **notices()}


def _payload(name: str, shape: Shape) -> dict[str, Any]:
    return dict(render(CONTENTS[name], Manners(shape, "Shipmate")).payload)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_robot_gets_this_markdown(name: str, golden: Callable[[Path, object], None]) -> None:
    """The body of the webhook call, with the links that send a command."""
    golden(HERE / f"{name}.dingtalk.golden.json", _payload(name, Shape.ROBOT))


@pytest.mark.parametrize("name", CONTENTS)
def test_the_template_gets_these_variables(name: str, golden: Callable[[Path, object], None]) -> None:
    """The variables of the interactive card; its buttons are shown as the list they carry."""
    payload = _payload(name, Shape.CARD)
    variables = payload["cardData"]["cardParamMap"]
    golden(HERE / f"{name}.dingtalk_card.golden.json", payload | {"btns": json.loads(variables["btns"])})
