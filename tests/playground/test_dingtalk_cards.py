"""Interactive cards: delivery, updates, callbacks, templates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dingtalk_stream
import pytest
from dingtalk_stream import AckMessage

from playground import world
from playground.dingtalk.template import load_template, parse_template
from playground.server import Playground
from tests.playground.clients import DingTalkApi, streaming
from tests.playground.samples import CARDS, Json, card


def test_a_card_is_drawn_from_its_template_and_edited_in_place(playground: Playground, api: DingTalkApi) -> None:
    """createAndDeliver shows one message; PUT changes it, key by key if asked to."""
    answer = api.call("POST", f"{CARDS}/createAndDeliver", card()).json()
    assert answer["success"] is True
    [result] = answer["result"]["deliverResults"]
    assert (result["spaceType"], result["spaceId"], result["success"]) == ("IM_GROUP", world.DINGTALK_GROUP, True)
    [shown] = playground.client.messages("dingtalk", "研发群")
    assert shown["text"] == "Build\n失败\nhi\n分支: main"
    assert [(one["id"], one["label"]) for one in shown["actions"]] == [("retry", "重试")]
    change = {"outTrackId": "t1", "cardData": {"cardParamMap": {"status_text": "成功"}}}
    api.call("PUT", CARDS, change | {"cardUpdateOptions": {"updateCardDataByKey": True}})
    [shown] = playground.client.messages("dingtalk", "研发群")
    assert (shown["text"], shown["edits"]) == ("Build\n成功\nhi\n分支: main", 1)
    api.call("PUT", CARDS, change)
    assert playground.client.messages("dingtalk", "研发群")[0]["text"] == "成功"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"outTrackId": ""}, "param.outTrackIdEmpty"),
        ({"cardTemplateId": None}, "param.cardTemplateIdEmpty"),
        ({"cardTemplateId": "other.schema"}, "param.templateNotExist"),
        ({"cardData": {}}, "param.cardPublicDataEmpty"),
        ({"cardData": {"cardParamMap": {"title": 7}}}, "MissingStringValue"),
        ({"openSpaceId": ""}, "param.openSpaceIdEmpty"),
        ({"openSpaceId": "IM_GROUP.x"}, "param.openSpaceIdInvalid"),
        ({"imGroupOpenDeliverModel": None}, "param.openDeliverModelEmpty"),
        ({"callbackType": "PIGEON"}, "param.invalid"),
    ],
)
def test_refuses_cards_as_dingtalk_does(playground: Playground, api: DingTalkApi, change: Json, code: str) -> None:
    """Each mistake is an HTTP error with its documented code and shows nothing."""
    refused = api.call("POST", f"{CARDS}/createAndDeliver", card(**change))
    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert playground.client.messages("dingtalk", "研发群") == []


@pytest.mark.parametrize(
    "change",
    [
        {"imGroupOpenDeliverModel": {"robotCode": "other"}},
        {"openSpaceId": "dtv1.card//IM_GROUP.unknown"},
        {"openSpaceId": f"dtv1.card//IM_GROUP.{world.DINGTALK_OPS_GROUP}"},
    ],
)
def test_a_failed_delivery_hides_in_the_results(playground: Playground, api: DingTalkApi, change: Json) -> None:
    """The call succeeds although nothing was shown: only deliverResults tells."""
    answer = api.call("POST", f"{CARDS}/createAndDeliver", card(**change)).json()
    assert (answer["success"], answer["result"]["deliverResults"][0]["success"]) == (True, False)
    assert playground.client.messages("dingtalk", "研发群") == []
    assert api.call("PUT", CARDS, {"outTrackId": "t1"}).json()["code"] == "param.cardNotExist"


def test_one_track_id_is_one_card(playground: Playground, api: DingTalkApi) -> None:
    """A second createAndDeliver is refused, updates, or shows a second message, as set."""
    api.call("POST", f"{CARDS}/createAndDeliver", card())
    second = api.call("POST", f"{CARDS}/createAndDeliver", card())
    assert (second.status_code, second.json()["code"]) == (400, "param.cardAlreadyExist")
    playground.client.options(dingtalk_duplicate_card="update")
    api.call("POST", f"{CARDS}/createAndDeliver", card(cardData={"cardParamMap": {"title": "New"}}))
    assert [one["text"] for one in playground.client.messages("dingtalk", "研发群")] == ["New"]
    playground.client.options(dingtalk_duplicate_card="again")
    api.call("POST", f"{CARDS}/createAndDeliver", card())
    assert len(playground.client.messages("dingtalk", "研发群")) == 2


def test_cards_may_be_created_first_and_delivered_to_people(playground: Playground, api: DingTalkApi) -> None:
    """Creation shows nothing; delivery to a person shows the card in their conversation with the bot."""
    assert api.call("POST", CARDS, card()).json()["success"] is True
    assert api.call("POST", CARDS, card()).json()["code"] == "param.cardAlreadyExist"
    space = {"outTrackId": "t1", "openSpaceId": "dtv1.card//IM_ROBOT.lilei0017"}
    delivery = space | {"imRobotOpenDeliverModel": {"spaceType": "IM_ROBOT"}}
    assert api.call("POST", f"{CARDS}/deliver", delivery).json()["result"][0]["success"] is True
    assert len(playground.client.messages("dingtalk", "@李雷")) == 1


class Pressed(dingtalk_stream.CallbackHandler):  # type: ignore[misc] # the SDK has no types
    """Notes each press and answers what it was given."""

    def __init__(self, answer: Json) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[Any] = []

    async def process(self, message: Any) -> tuple[int, Json]:
        self.seen.append(dingtalk_stream.CardCallbackMessage.from_dict(message.data))
        return AckMessage.STATUS_OK, self.answer


def test_a_press_reaches_the_bot_and_its_answer_changes_the_card(
    playground: Playground, api: DingTalkApi, dingtalk: dingtalk_stream.DingTalkStreamClient
) -> None:
    """The callback carries action and parameters; the ack changes the card for all, or for the one who pressed."""
    options = {"updateCardDataByKey": True, "updatePrivateDataByKey": True}
    mine = {"cardParamMap": {"title": "Only for you"}}
    handler = Pressed({"cardUpdateOptions": options, "userPrivateData": mine})
    dingtalk.register_callback_handler(dingtalk_stream.CallbackHandler.TOPIC_CARD_CALLBACK, handler)
    api.call("POST", f"{CARDS}/createAndDeliver", card())
    [shown] = playground.client.messages("dingtalk", "研发群")
    with streaming(dingtalk, playground):
        click = {"message": shown["id"], "action": "retry"}
        assert playground.act(platform="dingtalk", as_="李雷", click=click)["ok"] is True
        handler.answer = {"cardData": {"cardParamMap": {"title": 7}}}
        assert playground.act(platform="dingtalk", as_="李雷", click=click)["error"] == "card_answer"
    press = handler.seen[0]
    assert (press.user_id, press.card_instance_id, press.type) == ("lilei0017", "t1", "actionCallback")
    assert press.content["cardPrivateData"] == {"actionIds": ["retry"], "params": {"command": "retry a#1"}}
    [for_all] = playground.client.messages("dingtalk", "研发群")
    assert for_all["text"].startswith("Build")
    state = playground.state(platform="dingtalk", as_="lilei")["platforms"]["dingtalk"]
    assert state["channels"]["研发群"]["messages"][0]["text"].startswith("Only for you")
    assert playground.state()["violations"][0]["rule"] == "card_answer"


def test_a_press_that_nobody_answers_is_said(start: Callable[..., Playground]) -> None:
    """Without a connection the person sees the failure; a disabled button is never sent."""
    playground = start(dingtalk_ack_timeout_s=0.05)
    api = DingTalkApi(playground)
    buttons = json.dumps([{"id": "a", "text": "A"}, {"id": "b", "text": "B", "status": "disabled"}])
    api.call("POST", f"{CARDS}/createAndDeliver", card(cardData={"cardParamMap": {"buttons": buttons}}))
    [shown] = playground.client.messages("dingtalk", "研发群")
    failed = playground.act(platform="dingtalk", click={"message": shown["id"], "action": "a"})
    assert (failed["ok"], failed["error"]) == (False, "no_connection")
    disabled = playground.act(platform="dingtalk", click={"message": shown["id"], "action": "b"})
    assert disabled["error"] == "disabled"


def bound(variable: str, kind: str = "variableValue", **more: Any) -> Json:
    """A property of the card builder that is bound to a variable."""
    return {"type": kind, "variable": variable, "variableType": "global", "valueType": "variable"} | more


def export() -> Json:
    """A template in the form that DingTalk's card builder exports."""
    fixed = {"type": "dynamicVisible", "valueType": "fixed", "value": True}
    condition = {"op": "notEqual", "variable": "status", "variableType": "global", "value": "done"}
    shown_if = {
        "type": "dynamicVisible",
        "valueType": "condition",
        "condition": {"op": "and", "conditions": [condition]},
    }
    button = {
        "id": "b1",
        "text": {"type": "dynamicString", "content": "Retry ${title}"},
        "color": "blue",
        "actionType": "request",
        "actionId": {"type": "dynamicString", "content": "retry"},
        "params": [{"type": "variable", "variable": "title", "variableType": "global", "name": "what"}],
        "visible": shown_if,
    }
    event = bound("items[0].action", variableType="loop")
    loop_button = {
        "text": {"type": "dynamicString", "content": "${loop.text}"},
        "color": bound("items[0].color", "dynamicSelect", variableType="loop"),
        "actionType": "dynamicEvent",
        "dynamicEventVar": event,
    }
    tree = {
        "componentName": "StdCard",
        "props": {
            "cardName": {"content": "${title}"},
            "tagText": {"content": "${status}"},
            "tagColor": {"value": "red"},
        },
        "children": [
            {"componentName": "Markdown", "props": {"content": bound("body", "dynamicMarkdown"), "visible": fixed}},
            {"componentName": "Divider", "props": {}},
            {"componentName": "ButtonBlock", "props": {"buttons": [button]}},
            {
                "componentName": "Loop",
                "props": {"listData": bound("items")},
                "children": [{"componentName": "SingleButton", "props": loop_button}],
            },
        ],
    }
    variables = [
        {"id": "title", "type": "string"},
        {"id": "body", "type": "markdown"},
        {"id": "items", "type": "loopArray"},
    ]
    editor = {"schemaVersion": "3.0.0", "schema": {"componentsTree": [tree]}, "variableList": variables}
    return {"editorData": json.dumps(editor), "widgetInfo": "", "type": "im", "mode": "card"}


def test_reads_the_card_builders_export() -> None:
    """Texts, bound variables, conditions and loops of an export are drawn from string values."""
    template = parse_template(export(), "x.schema")
    link = {"text": "Open", "color": "gray", "action": {"type": "openLink", "params": {"url": "https://ci"}}}
    request = {"text": "Stop", "color": "red"} | {
        "action": {"type": "sendCardRequest", "params": {"actionId": "stop", "params": {"n": "1"}}}
    }
    values = {"title": "a#1", "status": "failed", "body": "**x**", "items": json.dumps([link, request])}
    assert template.components(values) == [
        {"type": "title", "text": "a#1"},
        {"type": "tag", "text": "failed", "color": "red"},
        {"type": "markdown", "content": "**x**"},
        {"type": "divider"},
        {
            "type": "buttons",
            "buttons": [
                {
                    "id": "retry",
                    "text": "Retry a#1",
                    "color": "blue",
                    "status": "normal",
                    "url": None,
                    "params": {"what": "a#1"},
                },
                {"id": "Open", "text": "Open", "color": "gray", "status": "normal", "url": "https://ci", "params": {}},
                {"id": "stop", "text": "Stop", "color": "red", "status": "normal", "url": None, "params": {"n": "1"}},
            ],
        },
    ]
    done = template.components(values | {"status": "done", "items": "[]"})
    assert [one["type"] for one in done] == ["title", "tag", "markdown", "divider"]


def test_values_that_are_no_strings_come_by_the_full_object() -> None:
    """sys_full_json_obj carries lists, as in DingTalk's built-in cards."""
    layout = [{"type": "buttons", "items": "${msgButtons}"}]
    template = parse_template({"layout": layout}, "x.schema")
    full = json.dumps({"msgButtons": [{"text": "Go", "id": "go", "color": "blue", "request": True}]})
    [drawn] = template.components({"sys_full_json_obj": full})
    assert [one["id"] for one in drawn["buttons"]] == ["go"]


def test_template_files_may_be_given_an_id(tmp_path: Path) -> None:
    """`ID=FILE` names a template that carries no id; a file in neither form is refused."""
    file = tmp_path / "t.json"
    file.write_text(json.dumps(export()), "utf-8")
    assert load_template(f"mine.schema={file}").id == "mine.schema"
    assert load_template(str(file)).id == world.DINGTALK_TEMPLATE
    file.write_text("{}", "utf-8")
    with pytest.raises(ValueError, match="editorData"):
        load_template(str(file))
