"""Words from outside, and how they are cut."""

from __future__ import annotations

import pytest

from bot.domain.cards import Plain
from integrations.dingtalk.layout import short
from integrations.dingtalk.markup import Typesetter, cut
from integrations.slack.mrkdwn import clip_plain, render_text
from integrations.texts import clean_line, first_of

FAMILY, TECHNICIAN, FLAG, WAVE, WARNING = "👩\u200d👩\u200d👧\u200d👦", "👩🏽\u200d💻", "🇨🇳", "👋🏽", "⚠\ufe0f"
WALES = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
SIGNS = (FAMILY, TECHNICIAN, FLAG, WAVE, WARNING, WALES, "e\u0301", "字", "a")


@pytest.mark.parametrize("sign", SIGNS)
def test_no_sign_is_cut_in_two(sign: str) -> None:
    """Half of an emoji is another one, and half of a flag is a letter."""
    words = sign * 5
    for most in range(len(words) + 2):
        shown = first_of(words, most)
        assert words.startswith(shown)
        assert len(shown) % len(sign) == 0
        assert most - len(sign) < len(shown) <= most or shown == words


def test_what_is_no_sign_is_cut_anywhere() -> None:
    """A word that is hung with marks for a whole screen hides nothing else."""
    assert len(first_of("e" + "\u0301" * 300, 100)) == 100
    assert first_of("abc", 0) == ""
    assert first_of("", 3) == ""


def test_platforms_show_whole_signs_and_count_what_is_missing() -> None:
    """In passages, titles and labels of both."""
    words = FAMILY * 20
    for shown in (
        render_text((Plain(words),), limit=80, locale="zh-CN", timezone="UTC"),
        clip_plain(words, 20),
        clean_line(words, 20),
        short(words, 20),
        cut(words, 20, "en"),
        Typesetter("en", "UTC", can_mention=False).write((Plain("x"), Plain(words)), 20).removeprefix("x"),
    ):
        assert set(shown.partition("…")[0].strip().split(FAMILY)) == {""}
    assert cut(words, 20, "en").endswith("126 more characters")
