"""Calls spent on 1,000 updates of one card in five seconds, at one call a second."""

from __future__ import annotations

import time

from benchmarks.driver import paced
from benchmarks.harness import Ground, Report, calls, slack_settings, wait_until
from benchmarks.signed import build_event, webhook

UPDATES = 1000
RATE = 200.0
PLACE_INTERVAL_S = 1.0
PATIENCE_S = 20.0


def measure(ground: Ground, report: Report) -> None:
    """Send a build's whole life at once; every event changes what the card says."""
    playground = ground.playground("--channel", "#one")
    _, port = ground.bot(slack_settings(playground, {"*": "#one"}))
    bodies = [build_event("user-service", 1, "build.started")]
    for number in range(1, UPDATES - 1):
        stages = [{"name": f"step {number}", "status": "running"}]
        bodies.append(build_event("user-service", 1, "build.progressed", stages=stages, occurred_at=_instant(number)))
    bodies.append(build_event("user-service", 1, "build.finished", status="success"))
    requests = [webhook(port, f"update-{number}", body) for number, body in enumerate(bodies)]
    load = paced(port, requests, 4, RATE)
    if set(load.statuses) != {202}:
        raise RuntimeError(f"not all were accepted: {dict(load.statuses)}")
    final_at = load.sent_at[UPDATES - 1]
    wait_until(lambda: _final_time(playground) > 0, PATIENCE_S, "the final state is shown", pause_s=0.2)
    time.sleep(3 * PLACE_INTERVAL_S)  # nothing more may come
    made = _times(playground)
    shown_at = _final_time(playground)
    allowed_at = max([final_at, *(one + PLACE_INTERVAL_S for one in made if one < min(shown_at, final_at))])
    report.say(
        f"{UPDATES} events in {load.elapsed_s:.1f} s, calls at {', '.join(f'{at - made[0]:.2f}' for at in made)}"
    )
    report.judge("calls for 1,000 updates", len(made), 8)
    report.judge("final state beyond the budget", max(0.0, shown_at - allowed_at), 2.0, unit=" s")


def _instant(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 10)) + f".{number:03d}Z"


def _times(playground: int) -> list[float]:
    return [call["time"] for call in calls(playground) if call["method"] in ("chat.postMessage", "chat.update")]


def _final_time(playground: int) -> float:
    """When the final state was shown; 0 while it is not."""
    for call in calls(playground):
        if call["method"] in ("chat.postMessage", "chat.update") and call["answer"].get("ok"):
            words = str(call["arguments"])
            if "✅" in words or "white_check_mark" in words:
                return float(call["time"])
    return 0.0
