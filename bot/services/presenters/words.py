"""Words, emoji and tones that all cards share."""

from __future__ import annotations

from bot.domain.builds import BuildStatus, StageStatus
from bot.domain.cards import Tone
from bot.i18n import translate

BUILD_EMOJI = {
    BuildStatus.SUCCESS: "✅",
    BuildStatus.FAILED: "❌",
    BuildStatus.RUNNING: "⏳",
    BuildStatus.CANCELLED: "🚫",
    BuildStatus.UNKNOWN: "❓",
}
BUILD_TONE = {
    BuildStatus.SUCCESS: Tone.SUCCESS,
    BuildStatus.FAILED: Tone.FAILURE,
    BuildStatus.RUNNING: Tone.RUNNING,
    BuildStatus.CANCELLED: Tone.CANCELLED,
    BuildStatus.UNKNOWN: Tone.NEUTRAL,
}
BUILD_WORD = {
    BuildStatus.SUCCESS: "succeeded",
    BuildStatus.FAILED: "failed",
    BuildStatus.RUNNING: "running",
    BuildStatus.CANCELLED: "cancelled",
    BuildStatus.UNKNOWN: "ended, outcome unknown",
}
STAGE_EMOJI = {
    StageStatus.SUCCESS: "✅",
    StageStatus.WARNING: "⚠️",
    StageStatus.FAILED: "❌",
    StageStatus.RUNNING: "⏳",
    StageStatus.PENDING: "▫️",
    StageStatus.SKIPPED: "⏭️",
    StageStatus.CANCELLED: "🚫",
    StageStatus.UNKNOWN: "❓",
}


def status_word(status: BuildStatus, locale: str, *, is_fixed: bool = False) -> str:
    """How a build stands, in a word."""
    return translate(locale, "fixed" if is_fixed else BUILD_WORD[status])


def window(seconds: float, locale: str) -> str:
    """A length of time that was chosen, such as `1 h`, `90 min` or `45 s`."""
    whole = round(seconds)
    if whole % 3600 == 0:
        return translate(locale, "{hours} h", hours=whole // 3600)
    if whole % 60 == 0:
        return translate(locale, "{minutes} min", minutes=whole // 60)
    return translate(locale, "{seconds} s", seconds=whole)


def duration(seconds: float, locale: str) -> str:
    """`<1 s`, `0.4 s`, `42 s`, `3 min 5 s`, `10 min`, `2 h 10 min`; zero comes of clocks that count whole seconds."""
    if seconds < 10:
        tenths = f"{seconds:.1f}".removesuffix(".0")
        return translate(locale, "{seconds} s", seconds="<1" if tenths == "0" else tenths)
    whole = round(seconds)
    if whole < 60:
        return translate(locale, "{seconds} s", seconds=whole)
    minutes, rest = divmod(whole, 60)
    if minutes < 60 and not rest:
        return translate(locale, "{minutes} min", minutes=minutes)
    if minutes < 60:
        return translate(locale, "{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    hours, minutes = divmod(minutes, 60)
    return translate(locale, "{hours} h {minutes} min", hours=hours, minutes=minutes)


def overdue_words(locale: str) -> str:
    """Why a final state is said in the thread first."""
    return translate(locale, "the card above is updated as soon as the platform lets me")
