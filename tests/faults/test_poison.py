"""A card that can never be drawn: it is given up with a reason, and nothing waits for it."""

from __future__ import annotations

from sqlalchemy import select, update

from bot.storage.tables import cards
from tests.faults.scene import Faulty
from tests.scenarios.running import CI


def test_a_poisoned_card_is_given_up_and_others_go_on(faulty: Faulty) -> None:
    """Its row makes no sense to the renderer: three tries, and a dead letter that `explain` names; others are shown."""
    project, scene = faulty.begin("poisoned")["poisoned"], faulty.scene
    faulty.card("poisoned", project)
    for row in scene.rows(select(cards).where(cards.c.subject_key.contains(f"/{project}#"))):
        poison = {**row.options, "locale": ["en"]}
        scene.change(update(cards).where(cards.c.id == row.id).values(options=poison))
    scene.tell(project, 1, "finished", status="failed")
    neighbour = faulty.begin("poisoned")["poisoned"]
    faulty.card("poisoned", neighbour)
    for platform in ("slack", "dingtalk"):
        scene.eventually(
            lambda platform=platform: faulty.reason(project, platform) == "dead:render_failed",
            f"{platform}'s end",
            20.0,
        )
    scene.ask(CI, f"/ship explain {project}#1", "dead:render_failed")
    scene.tell(neighbour, 1, "finished", status="success")
    faulty.card("poisoned", neighbour, f"✅ {neighbour}")
    assert len(scene.cards("#poisoned", f"{project} #1")) == 1
