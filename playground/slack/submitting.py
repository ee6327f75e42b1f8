"""What becomes of a modal when the app answers its submission.

https://docs.slack.dev/surfaces/modals#response_actions
"""

from playground.options import Json
from playground.slack.call import SlackError
from playground.slack.platform import SlackPlatform
from playground.slack.store import View
from playground.slack.views import checked_view, replace_view


def answer_submission(slack: SlackPlatform, view: View, payload: object) -> Json:
    """Apply `response_action` of an ack; without one the view closes. Answers what the person sees."""
    if payload in (None, "", {}):
        slack.store.close(view)
        slack.hub.touch()
        return {"ok": True, "closed": True}
    given = payload if isinstance(payload, dict) else {}
    try:
        return _applied(slack, view, given)
    except SlackError as error:
        rule = f"{error.error}: {'; '.join(error.messages)}"
        slack.core.violate("slack", "submission_ack", rule)
        return {"ok": False, "error": error.error, "text": "We had some trouble connecting. Try again?"}
    finally:
        slack.hub.touch()


def _applied(slack: SlackPlatform, view: View, given: Json) -> Json:
    match given.get("response_action"):
        case "errors":
            errors = given.get("errors")
            known = {str(block.get("block_id")) for block in view.payload["blocks"] if block["type"] == "input"}
            if not isinstance(errors, dict) or not errors or set(errors) - known:
                raise SlackError("invalid_errors", [f"errors must be keyed by input block ids: {sorted(known)}"])
            return {"ok": False, "error": "errors", "errors": errors, "text": "; ".join(map(str, errors.values()))}
        case "update":
            replace_view(view, checked_view(given.get("view")))
            return {"ok": True, "view": view.id}
        case "push":
            if len(slack.store.stacks.get(view.user, [])) >= 3:
                raise SlackError("push_limit_reached")
            pushed = slack.store.new_view(view.user, checked_view(given.get("view")), previous=view)
            slack.store.show(pushed, on_top=True)
            return {"ok": True, "view": pushed.id}
        case "clear":
            slack.store.close_all(view.user)
            return {"ok": True, "closed": True}
        case other:
            raise SlackError("unknown_response_action", [str(other)])
