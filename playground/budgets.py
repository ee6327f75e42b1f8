"""Rate limits as sliding windows, and the figures of the platforms.

Slack: https://docs.slack.dev/apis/web-api/rate-limits. DingTalk: 20 texts a minute for a webhook robot.
"""

from collections import OrderedDict, deque
from typing import Final

SLACK_PER_MINUTE: Final = {
    "chat.update": 50,
    "chat.delete": 50,
    "chat.postEphemeral": 100,
    "views.open": 100,
    "views.update": 100,
    "views.push": 100,
    "views.publish": 100,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.list": 20,
    "conversations.info": 50,
    "conversations.members": 100,
    "conversations.open": 50,
    "conversations.join": 50,
    "users.conversations": 50,
    "users.info": 100,
    "users.list": 20,
    "users.lookupByEmail": 50,
    "reactions.add": 50,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
    "bots.info": 50,
    "team.info": 50,
    "apps.connections.open": 50,
}
DINGTALK_ROBOT_PER_MINUTE: Final = 20

# A client that keeps exactly to the pace still arrives a few milliseconds early now and then.
_TOLERANCE_S: Final = 0.25
_KEYS_KEPT: Final = 2_000


class Budgets:
    """Counts calls per key in a sliding window; times are the caller's monotonic seconds."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()

    def spend(self, key: str, *, limit: int, window_s: float, now: float) -> float:
        """Count one call; answer 0 where it is allowed, else the seconds until the next would be (not counted)."""
        times = self._windows.get(key)
        if times is None:
            times = self._windows[key] = deque()
            if len(self._windows) > _KEYS_KEPT:
                self._windows.popitem(last=False)
        edge = now - window_s + _TOLERANCE_S
        while times and times[0] <= edge:
            times.popleft()
        if len(times) >= limit:
            return max(times[0] - edge, 0.001)
        times.append(now)
        return 0.0

    def clear(self) -> None:
        """Forget every call."""
        self._windows.clear()
