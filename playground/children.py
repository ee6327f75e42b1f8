"""Child processes that never outlive who started them: own session, output to a file, stopped politely, then killed."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Child:
    """A running process; `log` is where its output goes, `own_log` where it writes itself, if it does."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    own_log: Path | None = None

    def stop(self, deadline: float) -> bool:
        """Send SIGTERM, wait until `deadline` (of time.monotonic), then kill its group; True if it ended by itself."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill_group()
            self.process.wait()
            return False
        self._kill_group()
        return True

    def tail(self, lines: int = 15) -> str:
        """Return the last lines that it wrote, of its own log too."""
        written = [path.read_text("utf-8", "replace") for path in (self.log, self.own_log) if path and path.exists()]
        return "\n".join("\n".join(written).splitlines()[-lines:])

    def _kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def start_child(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    own_log: Path | None = None,
) -> Child:
    """Start `command` in `folder`, and in a session of its own: a terminal's Ctrl-C reaches only its parent."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    return Child(name=name, process=process, log=log, own_log=own_log)
