"""Comments in Jira's two formats: whatever is said, they are valid, bounded, and mean nothing but themselves."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.cards import Code, Lines, Link, Moment, Paragraph, Person, Plain, Preformatted, Section, Strong, text
from integrations.jira import adf, wiki
from tests.cards.cases import NASTY, NASTY_LINES
from tests.oracles import schema

AT = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
MARKER = "shipmate deployment 7"
SOME = st.text(max_size=80)
INLINES = st.one_of(
    SOME.map(Plain),
    SOME.map(Strong),
    SOME.map(Code),
    st.builds(Link, SOME, st.sampled_from(["https://ci.example.com/7", "javascript:x", "", "https://a]|b"])),
    st.just(Moment(AT)),
    st.builds(Person, SOME, st.sampled_from([None, "jira:5b10", "slack:U1", "jira:"]), st.booleans()),
)
TEXTS = st.lists(INLINES, max_size=4).map(tuple)
SECTIONS = st.lists(
    st.one_of(
        st.builds(Paragraph, TEXTS, SOME),
        st.builds(Lines, st.lists(TEXTS, max_size=4).map(tuple), SOME, st.integers(0, 3)),
        st.builds(Preformatted, SOME, SOME),
    ),
    max_size=4,
)
OVERFULL = (
    Paragraph(text(NASTY * 200), title=NASTY),
    Lines(tuple(text(NASTY) for _ in range(500)), title="many"),
    Preformatted("\n".join(f"{number:05} {NASTY}" for number in range(2000))),
    *(Preformatted("x" * 5000) for _ in range(30)),
)


@settings(deadline=None, max_examples=50)  # the schema is large
@given(SECTIONS, st.sampled_from(["", MARKER]))
def test_every_document_is_valid(sections: list[Section], marker: str) -> None:
    """Held against Atlassian's schema: no empty text, no marks where none may be."""
    document = adf.render(sections, marker)
    problems = [problem.message[:200] for problem in schema("adf-full.schema.json").iter_errors(document)]
    assert problems == []
    assert marker in adf.plain_text(document)


@settings(deadline=None, max_examples=50)  # the schema is large
@given(SECTIONS)
def test_wiki_markup_means_nothing_but_itself(sections: list[Section]) -> None:
    """Whatever is said, no macro is opened that we did not open."""
    said = wiki.render(sections, MARKER)
    assert said.endswith(f"~{MARKER}~")
    outside = "".join(said.split("{noformat}")[::2])
    unescaped = re.sub(r"\\.", "", outside, flags=re.DOTALL)
    assert re.findall(r"[{}]", unescaped.replace("{{", "").replace("}}", "")) == []


@pytest.mark.parametrize("sections", [OVERFULL, ()])
def test_comments_are_bounded(sections: tuple[Section, ...]) -> None:
    """Jira takes 32,767 characters; what is cut off is marked, and the marker stays."""
    document = adf.render(sections, MARKER)
    assert schema("adf-full.schema.json").is_valid(document)
    assert len(adf.plain_text(document)) < 20_000
    assert adf.plain_text(document).endswith(MARKER)
    for is_plain in (True, False):
        said = wiki.render(sections, MARKER, is_plain=is_plain)
        assert len(said) < 20_000
        assert MARKER in said.splitlines()[-1]


def test_what_the_schema_refuses_is_never_made() -> None:
    """The schema does refuse the two mistakes that are easily made."""
    validator = schema("adf-full.schema.json")
    empty = {"type": "paragraph", "content": [{"type": "text", "text": ""}]}
    marked = {"type": "codeBlock", "content": [{"type": "text", "text": "x", "marks": [{"type": "strong"}]}]}
    for node in (empty, marked, {"type": "text", "text": "bare"}):
        assert not validator.is_valid({"version": 1, "type": "doc", "content": [node]})


def test_a_log_keeps_its_end_and_its_lines() -> None:
    """The end tells most; empty lines stay within."""
    log = "\n".join(f"line {number}" for number in range(5000)) + "\n\nFAILED"
    [block] = adf.render([Preformatted(log)])["content"]
    assert block["type"] == "codeBlock"
    [node] = block["content"]
    assert node["text"].endswith("line 4999\n\nFAILED")
    assert "marks" not in node
    assert adf.render([Preformatted("\n\n")])["content"] == [
        {"type": "paragraph", "content": [{"type": "text", "text": "—"}]}
    ]


def test_people_of_jira_are_mentioned() -> None:
    """Others are named; a link that is none stays words."""
    said = text(
        Person("Ada", "jira:5b10", is_mentioned=True),
        " ",
        Person("Bob", "slack:U1", is_mentioned=True),
        " ",
        Link("log", "javascript:alert(1)"),
        " ",
        Moment(AT),
    )
    [block] = adf.render([Paragraph(said)])["content"]
    assert block["content"][0] == {"type": "mention", "attrs": {"id": "5b10", "text": "@Ada"}}
    assert "href" not in json.dumps(block)
    assert adf.plain_text(block) == "@Ada Bob log 2026-11-21 04:10 UTC"
    assert wiki.render([Paragraph(said)]) == "[~5b10] Bob log 2026\\-11\\-21 04:10 UTC"


def test_markup_in_words_is_escaped() -> None:
    """Macros, headings, links and images of somebody's commit title."""
    said = wiki.render([Paragraph(text("h1. {color:red}*x*{color} [a|http://evil] !i.png!"))])
    assert said == "h1 . \\{color:red\\}\\*x\\*\\{color\\} \\[a\\|http://evil\\] \\!i.png\\!"
    assert "{noformat}" not in wiki.render([Paragraph(text(NASTY_LINES), title="{noformat}")])


def test_documents_of_others_are_read() -> None:
    """Lists, breaks and mentions; what is no document is empty."""
    item = {"type": "listItem", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "one"}]}]}
    document = {
        "type": "doc",
        "version": 1,
        "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "a"}, {"type": "hardBreak"}]},
            {"type": "bulletList", "content": [item]},
            {"type": "paragraph", "content": [{"type": "mention", "attrs": {"text": "@Ada"}}, 7]},
        ],
    }
    assert adf.plain_text(document) == "a\n\none\n@Ada"
    assert [adf.plain_text(node) for node in (None, "x", {"type": "doc", "content": 7})] == ["", "", ""]
