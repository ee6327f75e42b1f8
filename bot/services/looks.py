"""How what is shown is remembered in a card's row, so that what would look the same to its readers is not sent."""

from __future__ import annotations

from bot.domain.places import Rendered

_KEPT = 31  # characters of each digest: two and what parts them fit into the column


def looks_of(rendered: Rendered, steady: Rendered | None) -> str:
    """What is remembered: of a state in between also how it looks without what changes by itself (`steady`)."""
    return rendered.digest if steady is None else f"{rendered.digest[:_KEPT]}~{steady.digest[:_KEPT]}"


def why_unchanged(looks: str, shown: str) -> str | None:
    """The reason for which nothing is sent where `shown` stands already; None where the two differ for a reader."""
    exact, _, steady = looks.partition("~")
    shown_exact, _, shown_steady = shown.partition("~")
    if exact[:_KEPT] == shown_exact[:_KEPT]:
        return "unchanged"
    return "unchanged:times" if steady and steady == shown_steady else None
