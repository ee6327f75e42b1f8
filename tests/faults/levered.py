"""Runs the real program with levers on what surrounds it: `python -m tests.faults.levered FOLDER run --config FILE`.

The product knows nothing of this. While a file `names` is in the folder no name or address can be looked up; a file
`clock` says by how many seconds the host's clock is wrong.
"""

from __future__ import annotations

import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


class Levers:
    """The levers of a program that runs with `folder`."""

    def __init__(self, folder: Path) -> None:
        self._names, self._clock = folder / "names", folder / "clock"
        self._root = Path(__file__).parent.parent.parent

    def wrapped(self, command: list[str]) -> list[str]:
        """The bot's command line, under these levers."""
        module = command.index("-m")
        return [*command[:module], "-m", "tests.faults.levered", str(self._names.parent), *command[module + 2 :]]

    @property
    def environment(self) -> dict[str, str]:
        """What that needs: the tests' own modules."""
        return {"PYTHONPATH": str(self._root)}

    def cut_names(self, *, is_cut: bool) -> None:
        """Let every look-up fail, or none."""
        if is_cut:
            self._names.touch()
        else:
            self._names.unlink(missing_ok=True)

    def set_clock(self, ahead_s: float) -> None:
        """Let the host's clock be wrong by so much."""
        scratch = self._clock.with_suffix(".new")
        scratch.write_text(str(ahead_s), "utf-8")
        scratch.replace(self._clock)

    def pull(self) -> None:
        """Put the levers into this process."""
        from bot.system import SystemClock

        look_up, names, clock = socket.getaddrinfo, self._names, self._clock

        def cut(*arguments: Any, **options: Any) -> Any:
            if names.exists():
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return look_up(*arguments, **options)

        def now(_clock: SystemClock) -> datetime:
            ahead_s = float(clock.read_text("utf-8")) if clock.exists() else 0.0
            return datetime.now(UTC) + timedelta(seconds=ahead_s)

        setattr(socket, "getaddrinfo", cut)  # noqa: B010 - another function in the place of a typed one
        setattr(SystemClock, "now", now)  # noqa: B010 - the same


def main() -> None:
    """Run `shipmate` with the rest of the command line."""
    Levers(Path(sys.argv.pop(1))).pull()
    from bot.cli import main as run

    run()


if __name__ == "__main__":
    main()
