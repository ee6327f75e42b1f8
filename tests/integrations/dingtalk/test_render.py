"""What people see, and what cannot be smuggled in."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cards import Action, Card, Lines, Link, Moment, Paragraph, Person, Preformatted, Strong, Tone, text
from integrations.dingtalk.layout import typed_command
from integrations.dingtalk.markup import escape, link, moment, safe_url
from integrations.dingtalk.render import APP_BYTES, ROBOT_BYTES, Manners, Shape, encode, render
from tests.cards.cases import cards, notices

TEMPLATE = Path(__file__).parents[3] / "integrations" / "dingtalk" / "card_template.json"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)]*)\)")  # as a client would see it that knows no backslash
INVISIBLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]")
CONTENTS = {**cards(), **{f"notice-{name}": one for name, one in notices().items()}}
OURS = re.compile(
    r"https://(ci\.example\.com|example\.com|acme\.atlassian\.net)/\S*|dtmd://dingtalkclient/sendMessage\?content=\S+"
)


def _render(content: Any, shape: Shape = Shape.ROBOT) -> dict[str, Any]:
    return dict(render(content, Manners(shape, "Shipmate")).payload)


def _texts(payload: dict[str, Any]) -> list[str]:
    """The markdown texts of a payload, whatever its shape."""
    if "markdown" in payload:
        return [payload["markdown"]["text"]]
    if "msgParam" in payload:
        return [json.loads(payload["msgParam"])["text"]]
    variables = payload["cardData"]["cardParamMap"]
    return [variables[name] for name in ("fields", "body", "footer")]


def _robot_text(card: Card) -> str:
    return _texts(_render(card))[0]


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("name", CONTENTS)
def test_everything_fits_the_platform(name: str, shape: Shape) -> None:
    """Nothing is ever refused for its length, nor for a value that is no text."""
    payload = _render(CONTENTS[name], shape)
    if shape is Shape.ROBOT:
        assert len(encode(payload)) <= ROBOT_BYTES
    elif "msgParam" in payload:
        assert len(payload["msgParam"].encode()) <= APP_BYTES
    else:
        variables = payload["cardData"]["cardParamMap"]
        assert len(encode(variables)) <= APP_BYTES
        assert all(isinstance(value, str) for value in variables.values())


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("name", CONTENTS)
def test_nothing_from_outside_becomes_markup(name: str, shape: Shape) -> None:
    """No link, image, HTML, mention markup or invisible character but ours, also for a client without backslashes."""
    for markdown in _texts(_render(CONTENTS[name], shape)):
        assert [one for one in LINK.findall(markdown) if not OURS.fullmatch(one)] == []
        assert "<" not in markdown
        assert not INVISIBLE.search(markdown)
        assert "dtmd:" not in LINK.sub("", markdown)
        assert not re.search(r"^(#(?!## )|```|---)", markdown, re.MULTILINE)


@pytest.mark.parametrize(("locale", "mark"), [("en", "more"), ("zh-CN", "另有")])
def test_what_is_left_out_is_said(locale: str, mark: str) -> None:
    """Items, lines, characters and passages are counted where they were cut."""
    markdown = _robot_text(cards()[f"longest.{locale}"])
    assert markdown.count(mark) >= 4
    assert "1999 日志" in markdown
    assert "0000 日志" not in markdown


def test_hidden_items_are_added_up() -> None:
    """What the presenter left out and what the renderer leaves out are one number."""
    card = Card(Tone.NEUTRAL, "t", sections=(Lines(tuple(text(f"{n} {'x' * 4000}") for n in range(70)), hidden=5),))
    markdown = _robot_text(card)
    shown = markdown.count("\n- ") + markdown.startswith("- ") - 1
    assert f"… {75 - shown} more\n" in f"{markdown}\n"


def test_only_visible_changes_change_the_digest() -> None:
    """The same content has the same digest; another word or another command another one."""
    card = cards()["typical.en"]
    manners = Manners(Shape.CARD, "Shipmate")
    same = render(replace(card, subject="build:other/x#1", is_final=False), manners)
    assert render(card, manners).digest == same.digest
    other = replace(card, actions=(Action("retry", "Retry", "retry buildbot/user-service#12@2"),))
    assert render(card, manners).digest != render(other, manners).digest
    assert render(card, manners).digest != render(replace(card, title="x"), manners).digest


@pytest.mark.parametrize(
    ("command", "locale", "with_attempt", "typed"),
    [
        ("retry buildbot/user-service#1@1", "zh-CN", False, "重试 buildbot/user-service#1"),
        ("retry buildbot/user-service#1@1", "zh-CN", True, "重试 buildbot/user-service#1@1"),
        ("retry build:buildbot/user-service#1@1", "en", False, "retry buildbot/user-service#1"),
        ("show buildbot/a#1", "zh-CN", True, "详情 buildbot/a#1"),
        ("status", "zh-CN", True, "状态"),
        ("frobnicate x", "zh-CN", True, "frobnicate x"),
    ],
)
def test_commands_are_written_in_the_readers_language(
    command: str,
    locale: str,
    with_attempt: bool,
    typed: str,
) -> None:
    """A link sends the attempt along, so that an old one does not act on a newer run."""
    assert typed_command(command, locale, with_attempt=with_attempt) == typed


def test_a_command_link_sends_its_command() -> None:
    """What is sent is what the button stands for; beside it stands what to type."""
    markdown = _robot_text(cards()["typical.zh-CN"])
    sent = next(unquote(url.partition("content=")[2]) for url in LINK.findall(markdown) if url.startswith("dtmd"))
    assert sent == "重试 buildbot/user-service#12@1"
    assert "或输入 @Shipmate 重试 buildbot/user-service#12" in markdown


def test_a_robot_that_hears_nobody_offers_links_only() -> None:
    """A command nobody hears would be an empty promise."""
    payload = render(cards()["typical.en"], Manners(Shape.ROBOT, "")).payload
    assert "dtmd:" not in payload["markdown"]["text"]
    assert "[View build](https://ci.example.com/" in payload["markdown"]["text"]


@pytest.mark.parametrize(
    ("locale", "timezone", "words"),
    [
        ("en", "Europe/Berlin", "Nov 21, 04:04"),
        ("zh-CN", "Asia/Shanghai", "11月21日 11:04"),
        ("fr", "UTC", "Nov 21, 03:04"),
        ("en", "Nowhere/Unknown", "Nov 21, 03:04"),
        ("en", "../../etc/passwd", "Nov 21, 03:04"),
    ],
)
def test_times_stand_in_the_readers_zone(locale: str, timezone: str, words: str) -> None:
    """An unknown zone is no reason to fail."""
    assert moment(datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC), locale, timezone) == words


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.com/a(b)?x=1&y=ä#z", "https://example.com/a%28b%29?x=1&y=%C3%A4#z"),
        ("https://example.com/%E4%BD%A0", "https://example.com/%E4%BD%A0"),
        ("HTTP://example.com/\n[x]", "HTTP://example.com/%5Bx%5D"),
        ("javascript:alert(1)", ""),
        ("dtmd://dingtalkclient/sendMessage?content=x", ""),
        ("//example.com", ""),
        ("https://example.com/" + "x" * 2000, ""),
    ],
)
def test_only_web_addresses_are_linked(url: str, safe: str) -> None:
    """Anything else shows its words alone."""
    assert safe_url(url) == safe
    assert link("label", url) == (f"[label]({safe})" if safe else "label")


def test_line_breaks_survive() -> None:
    """DingTalk joins lines that do not end with blanks."""
    assert escape("one\r\ntwo\rthree") == "one  \ntwo  \nthree"
    assert _robot_text(Card(Tone.NEUTRAL, "t", sections=(Preformatted("a\n\nb"),))).endswith("> a  \n>   \n> b")


@pytest.mark.parametrize("rule", ["=" * 70, "-" * 8, "  " + "*" * 20])
def test_the_rules_of_a_log_are_short_lines(rule: str) -> None:
    """Seventy signs in a row would fill three lines of a telephone; text beside them is left alone."""
    assert escape(f"FAIL\n{rule}\nok") == "FAIL  \n────────────  \nok"
    assert "=" * 70 in escape("x " + "=" * 70)


def test_inline_parts_keep_the_blanks_between_them() -> None:
    """Words do not run together where one part ends and the next begins."""
    body = text(
        "a ", Strong(" b "), " ", Link("c", "https://example.com/"), " ", Moment(datetime(2026, 1, 2, tzinfo=UTC))
    )
    markdown = _robot_text(Card(Tone.NEUTRAL, "t", sections=(Paragraph(body),)))
    assert markdown.endswith("a **b** [c](https://example.com/) Jan 2, 00:00")


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("[]()<>!*_`#-&;\n\\ dtmd:")), max_size=200))
def test_no_text_at_all_becomes_markup(words: str) -> None:
    """Whatever is thrown at it."""
    escaped = escape(words)
    assert not LINK.search(escaped)
    assert "<" not in escaped
    assert not INVISIBLE.search(escaped)
    assert not re.search(r"(?<!\\)[*_`]", escaped.replace("\\\\", ""))


def test_two_parts_do_not_make_a_link_together() -> None:
    """Each is harmless by itself."""
    body = text("[click]", "(https://evil.example)", "[x", "]", ": y", Strong("z]"), Link("c", "https://example.com/"))
    markdown = _robot_text(Card(Tone.NEUTRAL, "t", sections=(Paragraph(body),)))
    assert LINK.findall(markdown) == ["https://example.com/"]


@pytest.mark.parametrize(
    ("words", "escaped"),
    [
        ("# a", "＃ a"),
        ("> a", "＞ a"),
        ("- a", "－ a"),
        ("12. a", "12． a"),
        ("---", "－--"),
        ("=====", "＝===="),
        ("#12 failed", "#12 failed"),
        ("-1", "-1"),
        ("1.5 s", "1.5 s"),
        ("=== FAILURES ===", "=== FAILURES ==="),
        ("a - b", "a - b"),
        ("C:\\x", "C:\\\\x"),
        ("test_log_in", "test\\_log\\_in"),
        ("[a](b)", "[a] (b)"),
        ("a~~b~~", "a~ ~b~ ~"),
    ],
)
def test_only_what_would_be_markup_is_changed(words: str, escaped: str) -> None:
    """Logs and names stay as readable as they can be."""
    assert escape(words) == escaped


def test_nobody_called_is_lost_to_shortening() -> None:
    """Whoever is notified stands in the text, however little of the card is left."""
    called = tuple(Person(f"m{n}", f"dingtalk:manager{n}", is_mentioned=True) for n in (1, 2))
    card = replace(cards()["longest.en"], footer=text("x" * 5000, *called))
    payload = _render(card)
    assert payload["at"] == {"atUserIds": ["manager1", "manager2"], "isAtAll": False}
    assert payload["markdown"]["text"].endswith("@manager1 @manager2")
    assert len(encode(payload)) <= ROBOT_BYTES


def test_a_card_that_is_changed_in_place_calls_nobody() -> None:
    """An edit must not ring; the notice beside the card does."""
    assert "imGroupOpenDeliverModel" not in _render(cards()["calling.en"], Shape.CARD)


def _editor() -> dict[str, Any]:
    document = json.loads(TEMPLATE.read_text("utf-8"))
    assert (document["type"], document["mode"]) == ("im", "card")
    editor: dict[str, Any] = json.loads(document["editorData"])
    return editor


def test_the_template_has_the_variables_that_are_sent() -> None:
    """One that is missing on either side would stay empty on the card."""
    declared = {one["name"]: one["type"] for one in _editor()["variableList"]}
    sent = _render(cards()["typical.en"], Shape.CARD)["cardData"]["cardParamMap"]
    assert declared.keys() == sent.keys()
    assert declared["btns"] == "loopArray"
    notice = _render(notices()["remark.en"], Shape.CARD)["cardData"]["cardParamMap"]
    assert notice.keys() == sent.keys()


def test_the_template_shows_every_variable() -> None:
    """Each variable is bound to a component, and each component's kind is listed."""
    editor = _editor()
    tree = json.dumps(editor["schema"]["componentsTree"])
    for variable in editor["variableList"]:
        assert variable["name"] in tree
    kinds = set(re.findall(r'"componentName": "(\w+)"', tree))
    assert kinds == {one["componentName"] for one in editor["schema"]["componentsMap"]}


def test_a_button_carries_its_action_and_command() -> None:
    """A press sends both back; a link is opened by the client."""
    retry, view = json.loads(_render(cards()["typical.en"], Shape.CARD)["cardData"]["cardParamMap"]["btns"])
    assert retry["action"] == {
        "type": "sendCardRequest",
        "params": {"actionId": "retry", "params": {"command": "retry buildbot/user-service#12@1"}},
    }
    assert view["action"]["type"] == "openLink"
    assert (retry["color"], view["color"]) == ("blue", "gray")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("lock <service> [in <environment>]", "lock ＜service＞ [in ＜environment＞]"),
        ("<a <b>> c", "＜a ＜b＞＞ c"),
        ("v1 -> v2, 3 > 2", "v1 -> v2, 3 > 2"),
        ("a < b\nb > a", "a ＜ b  \nb > a"),
    ],
)
def test_angle_brackets_are_replaced_in_pairs(words: str, shown: str) -> None:
    """What opens with a look-alike closes with one; arrows and comparisons stay as they are."""
    assert escape(words) == shown
