"""The host that the sample's greeter is deployed to: runs the release that the file `current` names, and no other.

`python -m playground.greeter_host FOLDER --port 8020`; whoever deploys puts releases into FOLDER/releases.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

LOOK_S = 0.1
STOP_S = 3.0


class Host:
    """Runs one release at a time."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._release = ""
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Run what is current; a release that ended by itself is started again."""
        current = self._folder / "current"
        wanted = current.read_text("utf-8").strip() if current.exists() else ""
        has_ended = self._process is not None and self._process.poll() is not None
        if wanted and (wanted != self._release or has_ended):
            self.stop()
            self._release = wanted
            command = [sys.executable, "greeter.py", "--port", str(self._port)]
            self._process = subprocess.Popen(command, cwd=self._folder / "releases" / wanted)  # noqa: S603 - what was deployed

    def stop(self) -> None:
        """End the release that runs."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m playground.greeter_host", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    (options.folder / "releases").mkdir(parents=True, exist_ok=True)
    endings: SimpleQueue[int] = SimpleQueue()  # unlike an event, what a handler may touch at any moment
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: endings.put(number))
    host = Host(options.folder, options.port)
    try:
        while _is_to_go_on(endings):
            host.look()
    finally:
        host.stop()
    return 0


def _is_to_go_on(endings: SimpleQueue[int]) -> bool:
    try:
        endings.get(timeout=LOOK_S)
    except Empty:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
