"""mrkdwn, blocks and attachments as a person reads them."""

import pytest

from playground.slack.text import encode_mentions, message_text, plain

NAMES = {"U1": "Alice", "C1": "#ci"}


def name(given: str) -> str:
    """The name of an id."""
    return NAMES.get(given, given)


@pytest.mark.parametrize(
    ("mrkdwn", "read"),
    [
        ("*bold* _it_ ~s~ `co_de_`", "bold it s co_de_"),
        ("*_both_*", "both"),
        ("a*b*c 2 * 3 * 4", "a*b*c 2 * 3 * 4"),
        ("<@U1> in <#C1> and <#C9|ops>", "@Alice in #ci and #ops"),
        ("<!here> <!date^1700000000^{time}|then>", "@here then"),
        ("<https://x|label> <https://y>", "label https://y"),
        ("&lt;b&gt; &amp;amp;", "<b> &amp;"),
        ("```\nline *one*\n```", "line *one*"),
        (":x: :nothing_known:", "❌ :nothing_known:"),
        ("snake_case_name", "snake_case_name"),
    ],
)
def test_marks_are_read_away(mrkdwn: str, read: str) -> None:
    """Marks vanish, entities are undone, ids become names, code stays as it is."""
    assert plain(mrkdwn, name) == read


def test_typed_text_is_encoded_as_by_the_client() -> None:
    """What a person types is escaped, and a known handle becomes a mention."""
    typed = "@alice <b> & @nobody"
    assert encode_mentions(typed, {"alice": "U1"}) == "<@U1> &lt;b&gt; &amp; @nobody"


def test_blocks_replace_the_text_and_attachments_follow() -> None:
    """The whole card reads in order, its controls apart."""
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "Head :rocket:"}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Branch*\nmain"}]},
        {"type": "context", "elements": [{"type": "image", "alt_text": "pic"}, {"type": "mrkdwn", "text": "small"}]},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Go"}}]},
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U1"}]}],
        },
        {"type": "table", "rows": [[{"type": "raw_text", "text": "a"}, {"type": "raw_text", "text": "b"}]]},
    ]
    attachments = [{"title": "T", "fields": [{"title": "F", "value": "v"}], "footer": "end"}]
    read = message_text("hidden", blocks, attachments, name)
    assert read == "Head 🚀\nBranch\nmain\npic small\n@Alice\na | b\nT\nF: v\nend"
