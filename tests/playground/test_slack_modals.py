"""Modals: triggers, updates, submissions, stacks."""

from collections.abc import Callable
from typing import Any

import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from playground.server import Playground
from tests.playground.samples import SECTION, Json, modal, plain

Connect = Callable[[App], SocketModeHandler]


INPUT = {
    "type": "input",
    "block_id": "why",
    "label": plain("Why"),
    "element": {"type": "plain_text_input", "action_id": "text"},
}
CHOICE = {
    "type": "input",
    "block_id": "env",
    "optional": True,
    "label": plain("Where"),
    "element": {
        "type": "static_select",
        "action_id": "pick",
        "options": [{"text": plain("Staging"), "value": "staging"}],
    },
}


def trigger(playground: Playground) -> str:
    """A fresh trigger id, from a command that nobody answers."""
    playground.client.options(slack_ack_timeout_s=0.01)
    playground.act(platform="slack", say="/ship help")
    return str(playground.client.deliveries()[-1]["payload"]["trigger_id"])


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error that a call is refused with."""
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def test_a_trigger_opens_one_modal_within_three_seconds(playground: Playground, slack: WebClient) -> None:
    """A trigger is good once, soon, and only if it was given."""
    good = trigger(playground)
    assert refusal(slack.views_open, trigger_id="1.2.x", view=modal(SECTION)) == "invalid_trigger_id"
    assert slack.views_open(trigger_id=good, view=modal(SECTION))["view"]["title"]["text"] == "Title"
    assert refusal(slack.views_open, trigger_id=good, view=modal(SECTION)) == "exchanged_trigger_id"
    playground.client.options(slack_trigger_s=0.0)
    assert refusal(slack.views_open, trigger_id=trigger(playground), view=modal(SECTION)) == "expired_trigger_id"
    assert refusal(slack.views_open, trigger_id=good, view=modal(INPUT)) == "invalid_arguments"
    huge = modal(*[{"type": "section", "text": plain("x" * 3000)}] * 90)
    assert refusal(slack.views_open, trigger_id=good, view=huge) == "view_too_large"


def test_views_update_checks_the_hash(playground: Playground, slack: WebClient) -> None:
    """An update with the hash of an older state is refused; without one it passes."""
    view = slack.views_open(trigger_id=trigger(playground), view=modal(SECTION, external_id="e1"))["view"]
    slack.views_update(view_id=view["id"], hash=view["hash"], view=modal({"type": "section", "text": plain("Done")}))
    assert refusal(slack.views_update, view_id=view["id"], hash=view["hash"], view=modal(SECTION)) == "hash_conflict"
    assert refusal(slack.views_update, view_id="V0", view=modal(SECTION)) == "not_found"
    [shown] = playground.state()["platforms"]["slack"]["modals"].values()
    assert (shown["text"], shown["to"], shown["is_on_top"]) == ("Done", "Alice", True)


def test_three_views_are_the_limit(playground: Playground, slack: WebClient) -> None:
    """A third view may be pushed, a fourth not; closing the top shows the one below."""
    slack.views_open(trigger_id=trigger(playground), view=modal(SECTION))
    slack.views_push(trigger_id=trigger(playground), view=modal(SECTION))
    top = slack.views_push(trigger_id=trigger(playground), view=modal(SECTION))["view"]
    assert refusal(slack.views_push, trigger_id=trigger(playground), view=modal(SECTION)) == "push_limit_reached"
    playground.act(platform="slack", close=top["id"])
    modals = playground.state()["platforms"]["slack"]["modals"]
    assert [one["is_on_top"] for one in modals.values()] == [False, True]
    assert top["previous_view_id"] in modals


def test_details_say_loading_then_the_result(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """The modal that a click opened is part of what the person sees, and an update changes it."""

    @app.action("details")
    def details(ack: Callable[..., Any], body: Json, client: WebClient) -> None:
        ack()
        client.views_open(trigger_id=body["trigger_id"], view=modal(SECTION))

    connect(app)
    button = {"type": "button", "action_id": "details", "text": plain("Details")}
    ts = slack.chat_postMessage(channel="#ci", text="x", blocks=[{"type": "actions", "elements": [button]}])["ts"]
    answer = playground.act(platform="slack", as_="bob", click={"message": ts, "action": "details"}, wait_s=30)
    assert (answer["modal"]["text"], answer["modal"]["to"]) == ("Loading", "Bob")


def test_a_submission_carries_what_was_entered(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """Needed inputs are asked for by the client, errors come back by block, success closes the modal."""
    seen: list[Json] = []

    @app.view("m")
    def submitted(ack: Callable[..., Any], view: Json) -> None:
        values = view["state"]["values"]
        seen.append(values)
        if values["why"]["text"]["value"] == "no":
            ack(response_action="errors", errors={"why": "Say more"})
        else:
            ack()

    connect(app)
    view = modal(INPUT, CHOICE, submit=plain("Send"))
    opened = slack.views_open(trigger_id=trigger(playground), view=view)["view"]["id"]
    playground.client.options(slack_ack_timeout_s=3.0)
    empty = playground.act(platform="slack", submit={"view": opened, "values": {}})
    assert (empty["ok"], empty["text"]) == (False, "Please complete: Why")
    refused = playground.act(platform="slack", submit={"view": opened, "values": {"why": {"text": "no"}}})
    assert refused["errors"] == {"why": "Say more"}
    done = playground.act(platform="slack", submit={"view": opened, "values": {"why": "flaky", "pick": "Staging"}})
    assert (done["ok"], done["closed"]) == (True, True)
    assert seen[-1]["env"]["pick"]["selected_option"]["value"] == "staging"
    assert playground.state()["platforms"]["slack"]["modals"] == {}


def test_a_submission_may_update_or_be_answered_wrongly(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """response_action update shows another view; errors for unknown blocks are a violation."""
    answers = [
        {"response_action": "errors", "errors": {"nowhere": "x"}},
        {"response_action": "update", "view": modal({"type": "section", "text": plain("Next")})},
    ]

    @app.view("m")
    def submitted(ack: Callable[..., Any]) -> None:
        ack(**answers.pop(0))

    connect(app)
    opened = slack.views_open(trigger_id=trigger(playground), view=modal(SECTION, submit=plain("Go")))["view"]["id"]
    playground.client.options(slack_ack_timeout_s=3.0)
    assert playground.act(platform="slack", submit={"view": opened})["error"] == "invalid_errors"
    assert playground.state()["violations"][0]["rule"] == "submission_ack"
    assert playground.act(platform="slack", submit={"view": opened})["view"] == opened
    assert playground.state()["platforms"]["slack"]["modals"][opened]["text"] == "Next"


def test_closing_is_told_only_if_asked_for(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """view_closed is delivered for views with notify_on_close."""
    closed: list[str] = []

    @app.view_closed("m")
    def gone(ack: Callable[..., Any], view: Json) -> None:
        ack()
        closed.append(view["id"])

    connect(app)
    quiet = slack.views_open(trigger_id=trigger(playground), view=modal(SECTION))["view"]["id"]
    playground.act(platform="slack", close=quiet)
    loud = slack.views_open(trigger_id=trigger(playground), view=modal(SECTION, notify_on_close=True))["view"]["id"]
    playground.client.options(slack_ack_timeout_s=3.0)
    playground.act(platform="slack", close=loud)
    playground.client.wait_for(lambda _: closed)
    assert closed == [loud]


def test_the_home_tab_is_published_per_person(playground: Playground, slack: WebClient) -> None:
    """views.publish shows a Home tab to one person."""
    slack.views_publish(user_id="U024BOB0002", view={"type": "home", "blocks": [SECTION]})
    assert list(playground.state()["platforms"]["slack"]["homes"]) == ["U024BOB0002"]
    assert refusal(slack.views_publish, user_id="U0", view={"type": "home", "blocks": []}) == "missing_profile_id"
