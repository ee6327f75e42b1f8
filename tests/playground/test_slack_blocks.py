"""Block Kit's limits, by the API and by blocks.validate."""

from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from playground.slack.blocks import message_problems, view_problems

Json = dict[str, Any]


def plain(text: str) -> Json:
    """A plain text object."""
    return {"type": "plain_text", "text": text}


def button(**changes: Any) -> Json:
    """A button."""
    return {"type": "button", "action_id": "go", "text": plain("Go")} | changes


def actions(*elements: Json) -> Json:
    """An actions block."""
    return {"type": "actions", "elements": list(elements)}


def section(text: str = "x", **changes: Any) -> Json:
    """A section."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}} | changes


OPTION = {"text": plain("one"), "value": "1"}
SELECT = {"type": "static_select", "action_id": "s", "options": [OPTION]}


@pytest.mark.parametrize(
    ("block", "pointer"),
    [
        ({"type": "header", "text": plain("x" * 151)}, "/0/text/text"),
        ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, "/0/text/type"),
        (section("x" * 3001), "/0/text/text"),
        (section(""), "/0/text/text"),
        ({"type": "section"}, "/0"),
        ({"type": "section", "fields": [plain("x")] * 11}, "/0/fields"),
        ({"type": "section", "fields": [plain("x" * 2001)]}, "/0/fields/0/text"),
        (section(accessory={"type": "plain_text_input", "action_id": "i"}), "/0/accessory/type"),
        (section(block_id="b" * 256), "/0/block_id"),
        ({"type": "context", "elements": [plain("x")] * 11}, "/0/elements"),
        (actions(*[button(action_id=str(number)) for number in range(26)]), "/0/elements"),
        (actions(button(text=plain("x" * 76))), "/0/elements/0/text/text"),
        (actions(button(value="x" * 2001)), "/0/elements/0/value"),
        (actions(button(url="https://" + "x" * 3000)), "/0/elements/0/url"),
        (actions(button(accessibility_label="x" * 76)), "/0/elements/0/accessibility_label"),
        (actions(button(style="loud")), "/0/elements/0/style"),
        (actions(button(action_id="a" * 256)), "/0/elements/0/action_id"),
        (actions(button(), button()), "/0/elements/1/action_id"),
        (actions(SELECT | {"options": [OPTION] * 101}), "/0/elements/0/options"),
        (actions(SELECT | {"options": [OPTION | {"value": "x" * 151}]}), "/0/elements/0/options/0/value"),
        (actions(SELECT | {"placeholder": plain("x" * 151)}), "/0/elements/0/placeholder/text"),
        (actions(SELECT | {"type": "overflow", "options": [OPTION] * 6}), "/0/elements/0/options"),
        (actions(button(confirm={"title": plain("x" * 101)})), "/0/elements/0/confirm/title/text"),
        ({"type": "image", "image_url": "https://x"}, "/0"),
        ({"type": "alert", "text": plain("x")}, "/0/type"),
        ({"type": "carousel", "elements": [{"type": "card"}] * 11}, "/0/elements"),
        ({"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * 21]}, "/0/rows/0"),
        ({"type": "sparkles"}, "/0/type"),
    ],
)
def test_names_the_place_of_a_broken_limit(block: Json, pointer: str) -> None:
    """Each limit of a message's blocks is enforced at its JSON pointer."""
    assert f"/blocks{pointer}" in [one.pointer for one in message_problems([block])]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "header", "text": plain("x" * 150)},
        section("x" * 3000, fields=[plain("x" * 2000)] * 10, accessory=button()),
        actions(*[button(action_id=str(number), value="x" * 2000) for number in range(25)]),
        {"type": "context", "elements": [plain("x")] * 10},
        {"type": "divider"},
        {"type": "markdown", "text": "x" * 12_000},
        actions(SELECT | {"options": [OPTION] * 100}),
    ],
)
def test_takes_what_just_fits(block: Json) -> None:
    """A block at its limits is accepted."""
    assert message_problems([block]) == []


def test_limits_that_span_blocks() -> None:
    """Fifty blocks, unique block ids, 12,000 characters of markdown and one table are a message's bounds."""
    assert message_problems([{"type": "divider"}] * 50) == []
    assert message_problems([{"type": "divider"}] * 51)[0].pointer == "/blocks"
    assert message_problems([section(block_id="a"), section(block_id="a")])[0].code == "duplicate"
    assert message_problems([{"type": "markdown", "text": "x" * 6_001}] * 2)[0].code == "too_long"
    table = {"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]]}
    assert message_problems([table, table])[0].message == "only one table is allowed"


@pytest.mark.parametrize(
    ("view", "pointer"),
    [
        ({"type": "modal", "title": plain("x" * 25), "blocks": []}, "/view/title/text"),
        ({"type": "modal", "title": plain("x"), "blocks": [], "close": plain("x" * 25)}, "/view/close/text"),
        (
            {"type": "modal", "title": plain("x"), "blocks": [], "private_metadata": "x" * 3001},
            "/view/private_metadata",
        ),
        ({"type": "modal", "title": plain("x"), "blocks": [], "callback_id": "x" * 256}, "/view/callback_id"),
        ({"type": "modal", "title": plain("x"), "blocks": [{"type": "divider"}] * 101}, "/view/blocks"),
        (
            {
                "type": "modal",
                "title": plain("x"),
                "blocks": [{"type": "input", "label": plain("x"), "element": {"type": "plain_text_input"}}],
            },
            "/view",
        ),
        ({"type": "modal", "title": plain("x"), "blocks": [{"type": "markdown", "text": "x"}]}, "/view/blocks/0/type"),
        ({"type": "drawer", "blocks": []}, "/view/type"),
    ],
)
def test_views_have_limits_of_their_own(view: Json, pointer: str) -> None:
    """Titles, metadata, number of blocks, and the button that inputs need."""
    assert pointer in [one.pointer for one in view_problems(view)]


def test_the_api_says_which_block_it_refuses(slack: WebClient) -> None:
    """invalid_blocks carries one line for each problem, with its pointer."""
    with pytest.raises(SlackApiError) as caught:
        slack.chat_postMessage(
            channel="#ci", text="x", attachments=[{"blocks": [section("x" * 3001)], "fallback": "x"}]
        )
    assert caught.value.response["response_metadata"]["messages"] == [
        "[ERROR] must be less than 3001 characters [json-pointer:/attachments/0/blocks/0/text/text]"
    ]


def test_blocks_can_be_validated_without_a_token(slack: WebClient) -> None:
    """blocks.validate needs exactly one of its three arguments and answers pointers and codes."""
    anonymous = WebClient(base_url=slack.base_url)
    assert anonymous.api_call("blocks.validate", json={"blocks": [section()]})["ok"] is True
    with pytest.raises(SlackApiError) as caught:
        anonymous.api_call("blocks.validate", json={"blocks": [section("")]})
    assert caught.value.response["error"] == "invalid_blocks"
    assert caught.value.response["errors"][0]["pointer"] == "/blocks/0/text/text"
    with pytest.raises(SlackApiError):
        anonymous.api_call("blocks.validate", json={"blocks": [], "view": {}})
