"""What happened before the visitor came: Alice deployed the greeter's first version, and 张敏 approved it."""

import time
from collections.abc import Callable, Iterator

from playground.client import Client, ControlError
from playground.loopback import NotReachable

CHANNEL, GROUP = "#ci", "研发群"
NAME = "greeter#1"
PATIENCE_S = 90.0


class FirstDeployment:
    """Goes through it a step at a time; whoever runs the demo does other things in between."""

    def __init__(self, url: str, is_built: Callable[[], bool]) -> None:
        self._client = Client(url)
        self._is_built = is_built

    def steps(self) -> Iterator[None]:
        """Ask, confirm, approve; ends early where the answers do not come, for the demo goes on without."""
        deadline = time.monotonic() + PATIENCE_S
        lines: tuple[tuple[Callable[[], bool], str, str, str], ...] = (
            (self._is_built, CHANNEL, "alice", "/ship deploy greeter v1 to production"),
            (lambda: NAME in self._whispers(), CHANNEL, "alice", f"/ship confirm {NAME}"),
            (lambda: NAME in self._group(), GROUP, "张敏", f"@Shipmate 批准 {NAME}"),
        )
        try:
            for is_due, channel, person, line in lines:
                while not is_due():
                    if time.monotonic() > deadline:
                        return
                    yield
                self._say(channel, person, line)
        except (ControlError, NotReachable, OSError, LookupError, ValueError):  # nobody there who knows these two
            return

    def _say(self, channel: str, person: str, line: str) -> None:
        platform = "slack" if channel.startswith("#") else "dingtalk"
        self._client.act(platform=platform, channel=channel, as_=person, say=line)

    def _whispers(self) -> str:
        return str(self._client.state(platform="slack")["platforms"]["slack"]["ephemeral"])

    def _group(self) -> str:
        return str(self._client.messages("dingtalk", GROUP))
