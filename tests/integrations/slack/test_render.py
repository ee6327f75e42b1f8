"""What cards look like in Slack, and that Slack takes them all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.cards import (
    Action,
    Card,
    Code,
    Confirm,
    Field,
    Inline,
    Lines,
    Link,
    Moment,
    Notice,
    Paragraph,
    Person,
    Plain,
    Preformatted,
    Strong,
    Style,
    Tone,
    text,
)
from integrations.slack.mrkdwn import render_text
from integrations.slack.render import render, render_modal
from tests.cards.cases import NASTY, cards, notices
from tests.slack_limits import LARGEST_MESSAGE, problems_of_message, problems_of_view

CONTENTS = {**cards(), **notices()}
WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [NASTY, "", " ", "\n\n", "&" * 4000, "<" * 2500, "构建" * 3000, "a*b" * 900, "`" * 3100, "line\n" * 900]
    ),
)
URLS = st.sampled_from(
    [None, "", "https://ci.example.com/?" + "&" * 2900, "http://x/", "javascript:alert(1)", "http://["]
)
INLINES: st.SearchStrategy[Inline] = st.one_of(
    st.builds(Plain, WORDS),
    st.builds(Strong, WORDS),
    st.builds(Code, WORDS),
    st.builds(Link, WORDS, URLS.map(lambda url: url or "")),
    st.just(Moment(datetime(2026, 11, 21, tzinfo=UTC))),
    st.builds(Person, WORDS, st.sampled_from([None, "slack:U024BE7LH", "slack:*", "dingtalk:1"]), st.booleans()),
)
TEXTS = st.lists(INLINES, max_size=4).map(tuple)
SECTIONS = st.one_of(
    st.builds(Lines, st.lists(TEXTS, max_size=60).map(tuple), WORDS, st.integers(0, 9)),
    st.builds(Paragraph, TEXTS, WORDS),
    st.builds(Preformatted, WORDS, WORDS),
)
CONFIRMS = st.none() | st.builds(Confirm, WORDS, WORDS, WORDS, WORDS)
ACTIONS = st.lists(
    st.tuples(
        WORDS, st.sampled_from(["", "retry a#1", "x" * 1999, "x" * 3000]), URLS, st.sampled_from(Style), CONFIRMS
    ),
    max_size=30,
).map(lambda rows: tuple(Action(str(at), *row) for at, row in enumerate(rows)))
CARDS = st.builds(
    Card,
    tone=st.sampled_from(Tone),
    title=WORDS,
    emoji=st.sampled_from(["", "❌", "x" * 400]),
    title_url=URLS,
    fields=st.lists(st.builds(Field, WORDS, TEXTS), max_size=30).map(tuple),
    sections=st.lists(SECTIONS, max_size=30).map(tuple),
    actions=ACTIONS,
    footer=TEXTS,
    locale=st.sampled_from(["en", "zh-CN"]),
    timezone=st.just("Europe/Berlin"),
)
NOTICES = st.builds(
    Notice,
    st.just("❌"),
    TEXTS,
    st.lists(st.builds(Person, WORDS, st.just("slack:U024BE7LH"), st.just(True)), max_size=50).map(tuple),
    st.none() | st.builds(Preformatted, WORDS, WORDS),
)


@pytest.mark.parametrize("name", CONTENTS)
def test_every_case_is_within_the_limits(name: str) -> None:
    """However much there is to show."""
    assert problems_of_message(dict(render(CONTENTS[name]).payload)) == []


@settings(max_examples=150, deadline=None)
@given(CARDS | NOTICES)
def test_anything_is_within_the_limits(content: Card | Notice) -> None:
    """Also what nobody thought of, and never large."""
    payload = dict(render(content).payload)
    assert problems_of_message(payload) == []
    assert len(json.dumps(payload, ensure_ascii=False)) <= LARGEST_MESSAGE


@settings(max_examples=50, deadline=None)
@given(CARDS)
def test_any_window_is_within_the_limits(card: Card) -> None:
    """A window has a short title and more blocks."""
    assert problems_of_view(render_modal(card)) == []


def _said(content: Card | Notice) -> str:
    return json.dumps(dict(render(content).payload), ensure_ascii=False)


@pytest.mark.parametrize("name", ["hostile.en", "outburst.en"])
def test_text_from_outside_mentions_nobody(name: str) -> None:
    """No channel, no person and no link that the card does not hold itself."""
    said = _said(CONTENTS[name])
    assert "<@" not in said
    assert "<!channel" not in said
    assert "<https://evil" not in said
    assert ("<!here>" in said) == name.startswith("outburst")


def test_what_is_left_out_is_counted() -> None:
    """In the card's language."""
    card = Card(Tone.NEUTRAL, "t", sections=(Lines(tuple(text(f"item {n}") for n in range(60)), hidden=5),))
    assert "… 25 more" in _said(card)
    assert "…… 另有 25 项" in _said(replace(card, locale="zh-CN"))


def test_a_log_keeps_its_end() -> None:
    """That is where it says what went wrong."""
    log = "\n".join(f"line {number}" for number in range(1000)) + "\n<the end>"
    said = _said(Card(Tone.FAILURE, "t", sections=(Preformatted(log),)))
    assert "&lt;the end&gt;\\n```" in said
    assert " more lines" in said
    assert "line 0\\n" not in said


def test_one_long_line_keeps_its_end() -> None:
    """Even where that line is all there is."""
    said = _said(Card(Tone.FAILURE, "t", sections=(Preformatted("a" * 9000 + "<end>"),)))
    assert "aaa&lt;end&gt;\\n```" in said
    assert "more characters" in said


def test_only_one_button_leads() -> None:
    """Two primary buttons would leave the reader to guess."""
    actions = tuple(Action(str(n), "Retry", f"retry a#{n}", style=Style.PRIMARY) for n in range(2))
    payload = render(Card(Tone.NEUTRAL, "t", actions=actions)).payload
    buttons = payload["attachments"][0]["blocks"][0]["elements"]
    assert [button.get("style") for button in buttons] == ["primary", None]
    assert [button["action_id"] for button in buttons] == ["ship:0", "ship:1"]


def test_the_digest_is_of_what_is_seen() -> None:
    """The same look is not sent again; a button that does something else is another look."""
    card = cards()["typical.en"]
    assert render(card).digest == render(replace(card, is_final=False, subject="build:b/x#9")).digest
    assert render(card).digest != render(replace(card, tone=Tone.SUCCESS)).digest
    other = (Action("retry", "Retry", "retry buildbot/user-service#12@2"), *card.actions[1:])
    assert render(card).digest != render(replace(card, actions=other)).digest


def test_an_update_replaces_all_of_a_message() -> None:
    """Slack keeps blocks and attachments that an update does not mention."""
    assert set(render(Card(Tone.NEUTRAL, "t")).payload) == {"text", "blocks", "attachments"}


@pytest.mark.parametrize("zone", ["Nowhere/Unknown", "", "../etc"])
def test_an_unknown_zone_is_utc(zone: str) -> None:
    """A card is shown all the same."""
    card = Card(Tone.NEUTRAL, "t", footer=(Moment(datetime(2026, 11, 21, 3, 4, tzinfo=UTC)),), timezone=zone)
    assert "|2026-11-21 03:04 UTC>" in _said(card)


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (("by ", Plain("*x"), " on ", Plain("y*")), "by ∗x on y∗"),
        ((Plain("*a "), Strong("b")), "∗a *b*"),
        ((Plain("_a"), " ", Link("b_", "https://x.example")), "ˍa <https://x.example|bˍ>"),
        ((Plain("~a"), " ", Person("b~")), "∼a b∼"),
        ((Plain("~/src"), " and ", Plain("foo_bar")), "~/src and foo_bar"),
        ((Plain("*a* b"), Strong("c")), "`*a*` b\u200b*c*"),
    ],
)
def test_marks_of_two_texts_do_not_pair(parts: tuple[Inline | str, ...], shown: str) -> None:
    """An author and a branch cannot together format what stands between them; lone marks stay as they are."""
    assert render_text(text(*parts), limit=300, locale="en", timezone="UTC") == shown


@pytest.mark.parametrize("limit", range(60, 90))
def test_what_is_cut_stays_bold(limit: int) -> None:
    """Slack shows the marks of a text as they are that begins or ends with a blank."""
    shown = render_text((Strong("加粗 的 字 " * 40),), limit=limit, locale="zh-CN", timezone="UTC")
    assert len(shown) <= limit
    marked = shown.split("*")[1]
    assert marked == marked.strip()


def test_blanks_stand_outside_of_what_is_bold() -> None:
    """Not within its marks, and not lost."""
    assert render_text((Strong(" a b "), Plain("c")), limit=60, locale="en", timezone="UTC") == " *a b* c"
