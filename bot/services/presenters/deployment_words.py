"""What is said of a deployment: a word for each state, a sentence for each outcome, in the reader's language."""

from __future__ import annotations

from bot.domain.cards import Code, Text, Tone, text
from bot.domain.commands import SPECS, Verb
from bot.domain.deciding import TOO_OLD, is_out_of_reach, lacks_reason
from bot.domain.deployment_effects import ABANDONED, BY_ITSELF, NOT_CONFIGURED, TOGETHER, has_changed
from bot.domain.deployment_notices import is_over, question_in
from bot.domain.deployments import Deployment, DeploymentState
from bot.i18n import translate

_S = DeploymentState
EMOJI = {
    _S.REQUESTED: "📝",
    _S.AWAITING_APPROVAL: "🙋",
    _S.QUEUED: "🕒",
    _S.DEPLOYING: "⏳",
    _S.VERIFYING: "🔬",
    _S.SUCCEEDED: "🚀",
    _S.FAILED: "💥",
    _S.ROLLING_BACK: "⏪",
    _S.ROLLED_BACK: "↩️",
    _S.ROLLBACK_FAILED: "🆘",
    _S.CANCELLED: "🚫",
    _S.EXPIRED: "⌛",
    _S.SUPERSEDED: "⏭️",
}
TONE = {
    _S.SUCCEEDED: Tone.SUCCESS,
    _S.FAILED: Tone.FAILURE,
    _S.ROLLBACK_FAILED: Tone.FAILURE,
    _S.ROLLED_BACK: Tone.FAILURE,
    _S.CANCELLED: Tone.CANCELLED,
    _S.EXPIRED: Tone.CANCELLED,
    _S.SUPERSEDED: Tone.CANCELLED,
}
WORD = {
    _S.REQUESTED: "to be confirmed",
    _S.AWAITING_APPROVAL: "waits for approval",
    _S.QUEUED: "queued",
    _S.DEPLOYING: "deploying",
    _S.VERIFYING: "verifying",
    _S.SUCCEEDED: "deployed",
    _S.FAILED: "failed",
    _S.ROLLING_BACK: "rolling back",
    _S.ROLLED_BACK: "rolled back",
    _S.ROLLBACK_FAILED: "rollback failed",
    _S.CANCELLED: "cancelled",
    _S.EXPIRED: "expired",
    _S.SUPERSEDED: "superseded",
}
OUTCOMES = {
    "not_ready": "Not started: the checks could not tell anything.",
    "refused": "The CI system refused to start it.",
    "run_failed": "The run that deploys it failed.",
    "run_gone": "The run that deploys it is gone.",
    "checks_failed": "Checks failed after it was deployed.",
    "not_answered": "Nobody said what to do about checks that could not tell.",
    "abandoned": "Nobody saw how its run went: ended here by",
    "cut_short": "Its run was cancelled in the CI system half way: what it had done by then is there.",
    "never_ran": "Its run was cancelled in the CI system before it began: nothing was changed.",
    "rejected": "Rejected.",
    "withdrawn": "Withdrawn by who asked for it.",
    "not_confirmed": "Not confirmed in time.",
    "not_approved": "Not approved in time, which means rejected.",
    "queued_too_long": "Waited a whole week for its turn.",
    "never_taken": "For a whole week the CI system did not answer, or took no order for it:",
    "superseded": "A newer one took its place:",
    "overtaken": "Something else was deployed after it was confirmed, and would have been undone with it:",
    "outdated": "Something newer was deployed after it was asked for, and would have been undone with it:",
    "went_wrong": "This very version was deployed after it was asked for, and went wrong:",
    "not_good_before": "Its version went wrong in the environment before, after it was asked for:",
    "older_unshown": "It is older than what is there, which could not be told when it was asked for: ask for it again.",
    "version_moved": "Its version is the name of another build by now, and nobody can tell the two apart.",
    "requester_refused": "Not started: who asked for it has no role any more that allows this:",
    "approval_struck": "An approval was struck out.",
    "more_approvals": "More approvals are needed by now than when it was asked for.",
    "approvals_needed": "Approvals are needed by now; none were when it was asked for.",
    "approvers_unknown": "I cannot ask whether those who asked for it and approved it still may:",
    "ci_away": "The CI system does not answer, so it has not begun:",
    "order_lost": "Its order came to nothing: it is judged anew.",
    "not_configured": "It is not in the configuration any more.",
    "locked": "Locked by",
    "freeze": "A freeze is on:",
    "window": "It waits for its deploy window:",
    "busy": "Another deployment is under way:",
    "turn": "Others go first:",
    "with_alerts": "Deployed, but some checks are not well.",
}
BY_PERSON = {
    "not_kept": "{name} ended it while it was verified.",
    "stopped": "{name} stopped it while it was being deployed.",
    "cancelled": "{name} cancelled it before it began.",
}
UNNAMED = {
    "not_kept": "Ended while it was verified.",
    "stopped": "Stopped while it was being deployed.",
    "cancelled": "Cancelled before it began.",
}
NOT_ROLLED_BACK = {
    "off": "Not rolled back: that is switched off here.",
    "no_previous": "Not rolled back: no earlier version is known.",
    "same_version": "Not rolled back: the version before is the same one.",
    "irreversible": "Not rolled back: it made a change that cannot be undone.",
    "commits_unknown": "Not rolled back: its commits are not all known, and one may be what cannot be undone. Decide.",
    "not_configured": "Not rolled back: what deploys it is not in the configuration any more.",
    "unseen": "Not rolled back: its run may still go on. Look in the CI system, and decide.",
    "nothing_changed": "Nothing was changed.",
    "is_rollback": "This was a rollback: a person has to look now.",
}
STRUCK = {
    "no_role": "has no role any more that approves this",
    "not_granted": "has no role any more that approves this",
    "outsider": "is none of us any more",
    "is_requester": "is who asked for it",
    "counted_already": "has approved it from another account",
    TOO_OLD: "approved it too long ago",
}
QUESTIONS = {
    "checks": "some checks cannot tell: keep it, or roll it back?",
    "run_unknown": "I do not know whether its run was started: please look in the CI system",
    "run_unseen": "I cannot see how its run goes: please look in the CI system",
    "not_stopped": "its run goes on though I asked for its end: please stop it in the CI system",
    "not_configured": "what deploys it is not in the configuration any more: put it back, or look in the CI system",
    "ci_away": "the CI system does not answer, and it cannot begin: please look there",
    "takes_long": "takes longer than it may: please look",
}
_ENDED_BY_WORD = frozenset({"stopped", ABANDONED, NOT_CONFIGURED})


def label_of(deployment: Deployment, locale: str) -> str:
    """Its number with what it is: builds of the same name have numbers of their own."""
    return translate(locale, "Deployment {number}", number=deployment.key.short)


def twin_of(deployment: Deployment, verb: Verb, locale: str) -> Text:
    """For who named a build, and may have meant the deployment of the same number."""
    sentence = "This is the build. The deployment {number} ({version} → {environment}):"
    way = {"version": deployment.version.name, "environment": deployment.environment}
    words = translate(locale, sentence, number=deployment.key.short, **way)
    return text(f"🚢 {words} ", Code(f"{word_of(verb, locale)} deployment:{deployment.key.short}"))


def emoji_of(deployment: Deployment) -> str:
    """How it stands, in one character; where people are asked something, that they are."""
    if is_asking(deployment):
        return "❔"
    return "⚠️" if deployment.state is _S.SUCCEEDED and deployment.outcome == "with_alerts" else EMOJI[deployment.state]


def said_of(deployment: Deployment, locale: str) -> list[str]:
    """Why it stands as it does: a line for what happened, one for each thing that follows."""
    happened = sentence_of(deployment.outcome, deployment.detail, locale)
    words = [happened] if happened else []
    if deployment.stop_asked_by:
        words += _of_its_stop(deployment, locale)
    if lacks_reason(deployment) and deployment.rejection is not None:
        sentence, name = "No reason was given; {name} can say why: {command}", deployment.rejection.name
        words.append(translate(locale, sentence, name=name, command=reason_command(deployment, locale)))
    if deployment.not_rolled_back in NOT_ROLLED_BACK:
        words.append(translate(locale, NOT_ROLLED_BACK[deployment.not_rolled_back]))
    if deployment.state is _S.ROLLBACK_FAILED:
        words.append(_unrestored(deployment, locale))
    elif deployment.state is _S.ROLLING_BACK:
        words.append(translate(locale, "#{number} is to undo it.", number=deployment.rolled_back_by))
    elif deployment.rolled_back_by and deployment.rollback_outcome == TOGETHER:
        numbers = {"number": deployment.rolled_back_by, "other": deployment.rollback_detail}
        words.append(translate(locale, "Undone by #{number}, together with #{other}.", **numbers))
    elif deployment.rolled_back_by:
        words.append(translate(locale, "Undone by #{number}.", number=deployment.rolled_back_by))
    if deployment.rollback_of:
        words.append(translate(locale, "Undoes #{number}.", number=deployment.rollback_of))
    has_locked = deployment.origin == BY_ITSELF or deployment.has_locked
    if has_locked and deployment.state is not _S.ROLLED_BACK:
        sentence = (
            "{environment} was locked: nothing else is deployed there until somebody has looked and unlocks it "
            "({command})."
        )
        command = unlock_command(deployment, locale)
        words.append(translate(locale, sentence, environment=deployment.environment, command=command))
    return words


def _of_its_stop(deployment: Deployment, locale: str) -> list[str]:
    """What came of somebody's wish to have its run stopped, as far as its outcome does not say so."""
    name, is_unbegun = deployment.stop_asked_by, not has_changed(deployment)
    if deployment.state is _S.DEPLOYING:
        return [translate(locale, "{name} wants its run stopped.", name=name)]
    if deployment.outcome == "stopped" and is_unbegun:
        return [translate(locale, "Its run had not begun: nothing was changed.")]
    if deployment.outcome in _ENDED_BY_WORD:
        return []
    if is_unbegun or deployment.outcome == "run_gone":
        return [translate(locale, "{name} wanted its run stopped.", name=name)]
    return [translate(locale, "{name} wanted its run stopped, which came too late.", name=name)]


def reason_command(deployment: Deployment, locale: str) -> str:
    """What to type to say why it was rejected."""
    return f"{word_of(Verb.REJECT, locale)} {deployment.key.short} {translate(locale, '<reason>')}"


def unlock_command(deployment: Deployment, locale: str) -> str:
    """What to type to let others be deployed there again."""
    return f"{word_of(Verb.UNLOCK, locale)} {deployment.service} {deployment.environment}"


def word_of(verb: Verb, locale: str) -> str:
    """A verb as the reader would type it."""
    return SPECS[verb].chinese[0] if locale.startswith("zh") else verb.value


def _unrestored(deployment: Deployment, locale: str) -> str:
    """That the version before is not back, and why."""
    number = deployment.rolled_back_by
    words = translate(locale, "#{number} did not bring the version before back: a person has to look.", number=number)
    return f"{words} {sentence_of(deployment.rollback_outcome, deployment.rollback_detail, locale)}".strip()


def sentence_of(outcome: str, detail: str, locale: str) -> str:
    """What an outcome means, with what is known of it beside; empty where there is nothing to say."""
    if outcome in BY_PERSON:
        return translate(locale, BY_PERSON[outcome], name=detail) if detail else translate(locale, UNNAMED[outcome])
    words = translate(locale, OUTCOMES[outcome]) if outcome in OUTCOMES else ""
    return f"{words} {line_of(detail, 500)}".strip()


def is_asking(deployment: Deployment) -> bool:
    """Whether people are asked something while it goes on."""
    return bool(deployment.question) and not deployment.state.is_ended


def question_of(deployment: Deployment, locale: str) -> str:
    """What they are asked, and what to type where they alone can end it."""
    asked = translate(locale, QUESTIONS.get(deployment.question.partition(":")[0], deployment.question))
    if can_end_here(deployment):
        way = "{command} ends it here as failed, whatever its run does"
    elif is_out_of_reach(deployment):
        way = "{command} asks for its end; said once more, it ends here as failed, whatever its run does"
    else:
        return asked
    return f"{asked} · {translate(locale, way, command=f'abort {deployment.key.short}')}"


def asks_still(deployment: Deployment, notice: str) -> bool:
    """Whether people are asked by now what a notice calls them for."""
    is_asked = is_asking(deployment) and deployment.question.partition(":")[0] == question_in(notice)[0]
    return is_asked and not is_over(notice, deployment)


def asked_in(deployment: Deployment, notice: str, locale: str) -> str:
    """What a notice asks people; where that is over by the time it is posted, what it was and what became of it."""
    if asks_still(deployment, notice):
        return question_of(deployment, locale)
    kind, about = question_in(notice)
    if about and len(deployment.kept) >= about:
        became = translate(locale, "answered: keep {checks}", checks=", ".join(deployment.kept))
    else:
        became = translate(locale, "not asked any more")
    asked = translate(locale, QUESTIONS.get(kind, ""))
    return " · ".join(part for part in (asked, became, translate(locale, WORD[deployment.state])) if part)


def can_end_here(deployment: Deployment) -> bool:
    """Whether it ends at once when people want it to: nobody can ask its run, or asking did not help."""
    if deployment.state is not _S.DEPLOYING:
        return False
    return deployment.question == NOT_CONFIGURED or (is_out_of_reach(deployment) and bool(deployment.stop_asked_by))


def line_of(words: str, most: int = 300) -> str:
    """Words from outside in one line."""
    flat = " ".join(words.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
