"""The sample's way of deploying: a version that is ended while it answers does not end the deployment."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

RELEASE = Path(__file__).parent.parent.parent / "playground" / "sample" / "greeter" / "v1"
HALF = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"ver'
WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"version": "v1"}'
PATIENCE_S = 30.0


def test_half_an_answer_is_asked_again(tmp_path: Path) -> None:
    """The host ends the old release while it tells its version; the new one answers next."""
    answered = []

    def answer(door: socket.socket) -> None:
        for text in (HALF, WHOLE):
            connection, _ = door.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(text)
            answered.append(text)

    with socket.create_server(("127.0.0.1", 0)) as door:
        answering = threading.Thread(target=answer, args=[door], daemon=True)
        answering.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        command = [sys.executable, "-B", "deploy.py", "--to", str(tmp_path), "--url", url]
        ran = subprocess.run(command, cwd=RELEASE, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        answering.join(PATIENCE_S)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("v1 answers\n")
    assert answered == [HALF, WHOLE]
