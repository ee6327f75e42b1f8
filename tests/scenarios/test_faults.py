"""Platforms that fail: what people see in the end is one card in each place, with the final state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update

from bot.services.doubts import BROKEN_S
from bot.storage import tables
from tests.scenarios.running import CI, DEV_GROUP, PATIENCE_S, Scene, fresh

OTHER, THIRD, WITHOUT_BOT = "#other", "#third", "#random"
REFUSED_S = 60
HOUR_S = 3600
CREATE, CHANGE = "POST /v1.0/card/instances/createAndDeliver", "PUT /v1.0/card/instances"


def failed_calls(scene: Scene, method: str, project: str) -> list[dict[str, Any]]:
    """The calls about a project that a fault met."""
    return [call for call in scene.calls(method, project) if "fault" in call]


def _rests_until(scene: Scene, project: str) -> float:
    """Until when the places of a project's cards, or the cards there, rest."""
    cards, places = tables.cards, tables.destinations
    query = select(places.c.free_at, cards.c.due_at).where(
        places.c.key == cards.c.destination, cards.c.subject_key.contains(f"/{project}#")
    )
    return max(float(max(row)) for row in scene.rows(query))


def _let_slack_rest(scene: Scene, longer_s: float) -> None:
    """Let each place of Slack's rest for longer than it does by itself."""
    places = tables.destinations
    at_slack = places.c.key.startswith("slack:")
    scene.change(update(places).where(at_slack).values(free_at=places.c.free_at + longer_s))


def test_after_an_outage_the_final_state_stands_once_in_each_place(no_faults: Scene) -> None:
    """Both platforms are down while a build starts and ends; afterwards each place shows one card, and the end."""
    scene, project = no_faults, fresh("web")
    since = scene.playground.state()["last_call"]
    scene.playground.client.faults({"kind": "down", "method": "chat.*"}, {"kind": "down", "method": "*/card/*"})
    assert scene.tell(project, 1, "started", branch="main").status_code == 202
    for method in ("chat.postMessage", CREATE):
        scene.eventually(lambda method=method: failed_calls(scene, method, project), f"a failed {method}")
    assert scene.tell(project, 1, "finished", status="success").status_code == 202
    scene.let_pass(BROKEN_S)  # the first post cannot come any more
    scene.eventually(lambda: failed_calls(scene, "chat.postMessage", project)[1:], "Slack to be tried again")
    scene.eventually(lambda: scene.calls(CHANGE, since=since), "DingTalk to be asked whether it has the card")
    assert scene.cards(CI, f"{project} #1") == scene.cards(DEV_GROUP, f"{project} #1") == []
    scene.playground.client.faults()
    scene.let_pass(BROKEN_S)  # they need not be tried again at once
    for channel in (CI, DEV_GROUP):
        scene.card(channel, f"{project} #1", f"✅ {project} #1")


def test_an_outage_between_two_states_edits_the_same_card(no_faults: Scene) -> None:
    """A card that stands is changed in place once the platform is back."""
    scene, project = no_faults, fresh("web")
    scene.tell(project, 1, "started")
    opened = [scene.card(channel, f"{project} #1")["id"] for channel in (CI, DEV_GROUP)]
    scene.playground.client.faults({"kind": "status", "method": "chat.update"}, {"kind": "down", "method": CHANGE})
    scene.tell(project, 1, "finished", status="cancelled")
    for method in ("chat.update", CHANGE):
        scene.eventually(lambda method=method: failed_calls(scene, method, project), f"a failed {method}")
    scene.playground.client.faults()
    final = [scene.card(channel, f"{project} #1", f"🚫 {project}")["id"] for channel in (CI, DEV_GROUP)]
    assert final == opened


def test_retry_after_is_obeyed(no_faults: Scene) -> None:
    """Slack refuses for a minute: no call to that channel before it is over, others go on, then the end shows."""
    scene, project, elsewhere = no_faults, fresh("late"), fresh("web")
    scene.tell(project, 1, "started")
    scene.card(OTHER, f"{project} #1")
    refusal = {"kind": "retry_after", "method": "chat.update", "place": OTHER, "retry_after": REFUSED_S, "times": 1}
    scene.playground.client.faults(refusal)
    scene.tell(project, 1, "finished", status="success")
    [refused] = scene.eventually(lambda: failed_calls(scene, "chat.update", project), "the refusal")
    rests_until = scene.eventually(lambda: (at := _rests_until(scene, project)) > time.time() and at, "the rest")
    assert REFUSED_S <= rests_until - refused["time"] < REFUSED_S + PATIENCE_S
    scene.tell(elsewhere, 1, "started")
    scene.card(CI, f"{elsewhere} #1")
    assert [call for call in scene.calls("chat.update", project) if call["place"] == OTHER] == [refused]
    scene.let_pass(REFUSED_S)
    scene.card(OTHER, f"{project} #1", f"✅ {project}")
    refused, shown = [call for call in scene.calls("chat.update", project) if call["place"] == OTHER]
    assert (refused["status"], shown["status"]) == (429, 200)


def test_an_answer_that_slack_refuses_for_a_moment_is_given_after_it(no_faults: Scene) -> None:
    """429 for the URL that the answer may go to, and for the call in its place: the person hears a second later."""
    scene = no_faults
    refusal = {"kind": "retry_after", "platform": "slack", "retry_after": 1, "times": 1}
    answering = ("response_url", "chat.postEphemeral")
    scene.playground.client.faults(*({**refusal, "method": method} for method in answering))
    since = scene.playground.state()["last_call"]
    scene.ask(OTHER, "/ship whoami", "alice@example.com")
    made = [call for method in answering for call in scene.calls(method, since=since)]
    assert sorted(call["status"] for call in made) == [200, 429, 429]


def test_a_lost_answer_makes_no_second_message(no_faults: Scene) -> None:
    """Slack posted and nobody heard: the bot looks for its message, finds it, and goes on editing it."""
    scene, project = no_faults, fresh("late")
    lost = {"kind": "lost_answer", "method": "chat.postMessage", "place": THIRD, "times": 1}
    scene.playground.client.faults(lost)
    since = scene.playground.state()["last_call"]
    scene.tell(project, 1, "started")
    scene.eventually(lambda: scene.calls("conversations.history", since=since), "the bot to look for its message")
    scene.tell(project, 1, "finished", status="success")
    card = scene.card(THIRD, f"{project} #1", f"✅ {project}")
    assert card["edits"] >= 1
    posts = [call for call in scene.calls("chat.postMessage", project) if call["place"] == THIRD]
    assert len(posts) == 1


def test_a_lost_answer_of_dingtalk_makes_no_second_card(no_faults: Scene) -> None:
    """A card that was made unheard is not made twice: its id is the same."""
    scene, project = no_faults, fresh("web")
    scene.playground.client.faults({"kind": "lost_answer", "method": CREATE, "times": 1})
    scene.tell(project, 1, "started")
    scene.eventually(lambda: failed_calls(scene, CREATE, project), "the lost answer")
    scene.tell(project, 1, "finished", status="success")
    scene.card(DEV_GROUP, f"{project} #1", f"✅ {project}")


def test_a_slow_destination_delays_no_other(no_faults: Scene) -> None:
    """While one channel takes long for a call, the other has its card already."""
    scene, project = no_faults, fresh("late")
    scene.playground.client.faults({"kind": "slow", "place": OTHER, "delay_s": 6})
    scene.tell(project, 1, "started")
    scene.card(THIRD, f"{project} #1")
    assert scene.cards(OTHER, f"{project} #1") == []
    scene.card(OTHER, f"{project} #1")


def test_a_channel_without_the_bot_is_given_up_with_a_reason(scene: Scene) -> None:
    """`explain` names the channel and why nothing stands there; the other destination has its card."""
    project = fresh("lost")
    scene.tell(project, 1, "started")
    scene.card(OTHER, f"{project} #1")
    dead = ("slack:T024BE7L1/C024RANDOM3", "card")
    scene.eventually(lambda: scene.reasons(project).get(dead, "").startswith("dead:"), "the card to be given up")
    assert scene.reasons(project)[dead] == "dead:not_in_channel"
    scene.ask(CI, f"/ship explain {project}#1", "dead:not_in_channel", "sent")
    assert scene.cards(WITHOUT_BOT, f"{project} #1") == []


def test_a_deleted_message_is_posted_anew(scene: Scene) -> None:
    """A person deletes the card; the next state appears as a new message, once."""
    project = fresh("late")
    scene.tell(project, 1, "started")
    first = scene.card(OTHER, f"{project} #1")
    assert scene.playground.act(platform="slack", channel=OTHER, delete=first["id"])["ok"]
    scene.tell(project, 1, "finished", status="failed")
    second = scene.card(OTHER, f"{project} #1", f"❌ {project}")
    assert second["id"] != first["id"]
    assert scene.card(THIRD, f"{project} #1", f"❌ {project}")["edits"] >= 1


def test_a_revoked_token_pauses_and_loses_nothing(start: Callable[..., Scene]) -> None:
    """The bot stops knocking at a door that refuses it; other platforms go on; a new token shows everything."""
    scene, project = start(), fresh("web")
    scene.tell(project, 0, "started")
    scene.card(CI, f"{project} #0")
    scene.playground.client.options(slack_token_revoked=True)
    since = scene.playground.state()["last_call"]
    for number in (1, 2):
        scene.tell(project, number, "started")
        scene.tell(project, number, "finished", status="failed")
        scene.card(DEV_GROUP, f"{project} #{number}", f"❌ {project}")
    refused = scene.eventually(lambda: scene.calls("chat.postMessage", since=since), "Slack's refusal")
    assert refused[0]["answer"]["error"] == "token_revoked"
    scene.bot.stop()
    _let_slack_rest(scene, HOUR_S)  # it would be tried again after a minute, and a bot may take long to start
    scene.playground.client.options(slack_token_revoked=False)
    scene.bot.start()
    scene.tell(project, 3, "started")
    scene.card(DEV_GROUP, f"{project} #3")
    assert len(scene.calls("chat.postMessage", since=since)) == 1
    assert scene.cards(CI, f"{project} #1") == []
    scene.bot.stop()
    scene.let_pass(60 + HOUR_S)
    scene.bot.start()
    for number, mark in ((1, "❌"), (2, "❌"), (3, "⏳")):
        scene.card(CI, f"{project} #{number}", f"{mark} {project}")
