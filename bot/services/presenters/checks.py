"""How the checks of a deployment stand, a line each, and the line that tells how its service did."""

from __future__ import annotations

from typing import Any

from bot.domain.cards import Lines, Strong, Text, text
from bot.domain.checks import CheckProgress, Reason, Verdict
from bot.domain.deployments import Deployment, DeploymentState
from bot.i18n import translate

MOST_DETAIL, MOST_WARNING = 200, 150
VERDICT_EMOJI = {Verdict.PASSED: "✅", Verdict.FAILED: "❌", Verdict.NO_DATA: "❔", Verdict.ERROR: "⚠️", None: "🔬"}
VERDICT_WORD = {
    Verdict.PASSED: "passed",
    Verdict.FAILED: "failed",
    Verdict.NO_DATA: "no data",
    Verdict.ERROR: "could not be measured",
}
CHECK_REASONS = {
    Reason.ABOVE: "above its limit",
    Reason.BELOW: "below its limit",
    Reason.OFF_TARGET: "off its target",
    Reason.NO_SERIES: "the query found nothing",
    Reason.NOT_A_NUMBER: "what was found is no number",
    Reason.INFINITE: "the value is infinite",
    Reason.SEVERAL_SERIES: "several series where one is needed",
    Reason.NO_BASELINE: "nothing from before to compare with",
    Reason.NO_ANSWER: "no answer",
    Reason.WRONG_STATUS: "another status",
    Reason.WRONG_TEXT: "the expected text is missing",
    Reason.MONITOR_ALERT: "the monitor alerts",
    Reason.MONITOR_WARN: "the monitor warns",
    Reason.MONITOR_SILENT: "the monitor tells nothing",
    Reason.UNASKED: "nobody could be asked",
    Reason.PARTIAL: "only a part was read",
    Reason.NOT_CONFIGURED: "taken out of the configuration",
}
NO_ANSWERS = {
    "timeout": "no answer in time",
    "refused": "the connection was refused",
    "reset": "the connection broke",
    "tls": "the certificate is not good, or TLS failed",
    "unreachable": "it cannot be reached",
}
_SELF_EVIDENT = frozenset({Reason.NO_SERIES, Reason.NOT_A_NUMBER})


def checks_of(deployment: Deployment, locale: str) -> Lines:
    """Each check, and how the service did as soon as that is known."""
    is_over = deployment.state is not DeploymentState.VERIFYING
    lines = [_check(check, locale, is_ended=is_over) for check in deployment.checks]
    if deployment.figures:
        lines.append(text("📊 ", figures_of(deployment, locale)))
    return Lines(tuple(lines), title=translate(locale, "Checks"))


def figures_of(deployment: Deployment, locale: str) -> str:
    """How the service did while it was verified: `up 99.9 % · p95 120 ms · errors 0.3 %`."""
    words = []
    for name, value in deployment.figures:
        match name:
            case "availability":
                words.append(translate(locale, "up {share} %", share=f"{value:.5g}"))
            case "latency":
                words.append(f"p95 {value * 1000:.0f} ms" if value < 1 else f"p95 {value:.3g} s")
            case "error_rate":
                words.append(translate(locale, "errors {share} %", share=f"{value * 100:.3g}"))
    return " · ".join(words)


def _check(check: CheckProgress, locale: str, *, is_ended: bool) -> Text:
    """A check with its newest value beside its limit, and why its newest look did not pass."""
    emoji = "▫️" if check.verdict is None and is_ended else VERDICT_EMOJI[check.verdict]  # not waited for any more
    parts: list[Any] = [f"{emoji} ", Strong(check.name)]
    if check.last_value is not None:
        parts.append(f" {check.last_value:.4g}")
    if check.limit:
        parts.append(f" ({check.limit})")
    if check.verdict is not None:
        parts.append(f" · {translate(locale, VERDICT_WORD[check.verdict])}")
    if check.last_verdict is not Verdict.PASSED and (why := _why(check, locale)):
        parts.append(f" · {why}")
    if check.warnings:  # what the system said beside its answer may explain it
        parts.append(f" · ⚠️ {_short(check.warnings[0], MOST_WARNING)}")
    return text(*parts)


def _why(check: CheckProgress, locale: str) -> str:
    """The reason in words, with its particulars: `above its limit: 0.3 > 0.2 ← 0.1`."""
    detail = _short(check.last_detail, MOST_DETAIL)
    if check.last_reason is Reason.NO_ANSWER and detail in NO_ANSWERS:
        return translate(locale, NO_ANSWERS[detail])
    known = CHECK_REASONS.get(check.last_reason) if check.last_reason else None
    if known is None:
        return detail
    words = translate(locale, known)
    return f"{words}: {detail}" if detail and check.last_reason not in _SELF_EVIDENT else words


def _short(words: str, most: int) -> str:
    """Words from outside in one line."""
    flat = " ".join(words.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
