"""Issues as people are shown them in chat."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.domain.cards import Card
from bot.domain.issues import Issue, StatusCategory
from bot.services.presenters.issue import issue_card

AT = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
_ZONES = {"en": "Europe/Berlin", "zh-CN": "Asia/Shanghai"}


def issue(locale: str) -> Card:
    """An issue with everything that a tracker tells."""
    known = Issue(
        "USER-12",
        "Log in with a one-time code",
        "Ready for Staging",
        StatusCategory.IN_PROGRESS,
        "Story",
        "High",
        "陈伟 Chen Wei",
        ("security", "deploy-user-service"),
        ("1.4.2",),
        "USER",
        "https://ci.example.com/browse/USER-12",
        "People forget passwords.\nA code by mail is enough.",
        AT,
    )
    return issue_card(known, locale, _ZONES[locale])


def issue_hostile(locale: str) -> Card:
    """One whose every text misbehaves, and of which half is missing."""
    nasty = "<!channel> *x* `y` [click](https://evil.example) <script>alert(1)</script> @all "
    known = Issue(
        "USER-13", nasty * 5, "", labels=(nasty,) * 30, fix_versions=(nasty,) * 30, url="x", description=nasty * 60
    )
    return issue_card(known, locale, _ZONES[locale])
