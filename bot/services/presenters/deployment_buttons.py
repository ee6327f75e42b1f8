"""What can be done about a deployment from its card, in each of its states."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.cards import Action, Confirm, Style
from bot.domain.deployment_effects import has_changed
from bot.domain.deployments import Deployment, DeploymentState
from bot.i18n import translate
from bot.services.presenters.deployment_words import can_end_here

MAX_NAMED = 300  # characters of a button's command
# Asked before a press takes effect: the question, what follows, and the words of the button that says yes.
BEFORE_PRESS = {
    "stop": ("Cancel {deployment}?", "What was begun is stopped, not undone.", "Cancel deployment"),
    "end": (
        "End {deployment} here?",
        "It ends as failed, and is not rolled back by itself. Its run is left alone.",
        "End it here",
    ),
    "undo": ("Roll back {deployment}?", "It ends as failed, and what is configured for that follows.", "Roll back"),
}
_S = DeploymentState
_LEFT_THERE = frozenset({_S.SUCCEEDED, _S.FAILED, _S.ROLLBACK_FAILED, _S.CANCELLED})


def buttons_of(deployment: Deployment, locale: str, service_url: str) -> list[Action]:
    """The buttons below its card: those that decide something, and after them those that only show."""
    short = deployment.key.short
    actions: list[Action] = []

    def add(name: str, label: str, style: Style = Style.DEFAULT, confirm: Confirm | None = None) -> None:
        actions.append(Action(name, translate(locale, label), f"{name} {short}", style=style, confirm=confirm))

    match deployment.state:
        case _S.AWAITING_APPROVAL:
            add("approve", "Approve", Style.PRIMARY)
            add("reject", "Reject", Style.DANGER)
        case _S.QUEUED | _S.DEPLOYING:
            is_last_word = can_end_here(deployment)
            question = _question_before("end" if is_last_word else "stop", deployment, locale)
            add("abort", "End it here" if is_last_word else "Cancel", Style.DANGER, question)
        case _S.VERIFYING:
            actions += _verdicts(deployment, locale)
        case _:
            pass
    if _is_left_there(deployment):
        command = f"rollback {deployment.key.short} in {deployment.environment}"
        actions.append(Action("rollback_deployment", translate(locale, "Roll back"), command, style=Style.DANGER))
    if any(check.is_charted for check in deployment.checks):
        add("chart", "Chart")
    if deployment.run is not None and deployment.run.url:
        actions.append(Action("open", translate(locale, "View deployment"), url=deployment.run.url))
    if service_url and deployment.state in (_S.VERIFYING, _S.SUCCEEDED, _S.ROLLED_BACK):
        actions.append(Action("open_service", translate(locale, "View service"), url=service_url))
    return actions


def _is_left_there(deployment: Deployment) -> bool:
    """Whether there may be something to undo: of what was stopped half way, until that is undone."""
    is_gone = deployment.state is _S.CANCELLED and deployment.rolled_back_by > 0
    return deployment.state in _LEFT_THERE and has_changed(deployment) and not is_gone


def _verdicts(deployment: Deployment, locale: str) -> list[Action]:
    """What people may say of one that is verified; a press on Keep answers for what stood there, and nothing else."""
    short, asked = deployment.key.short, ",".join(deployment.asked_about)
    undo = Action("abort", translate(locale, "Roll back"), f"abort {short}", style=Style.DANGER)
    if asked:
        command = f"keep {short} {asked}" if len(asked) <= MAX_NAMED else f"keep {short}"
        return [Action("keep", translate(locale, "Keep it"), command, style=Style.PRIMARY), undo]
    return [] if deployment.rollback_of else [replace(undo, confirm=_question_before("undo", deployment, locale))]


def _question_before(press: str, deployment: Deployment, locale: str) -> Confirm:
    """What is asked before one of `BEFORE_PRESS` takes effect; the other button leaves all as it is."""
    title, consequence, yes = BEFORE_PRESS[press]
    return Confirm(
        translate(locale, title, deployment=deployment.key.short),
        translate(locale, consequence),
        translate(locale, yes),
        translate(locale, "Keep running"),
    )
