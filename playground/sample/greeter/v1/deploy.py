"""Puts this version in the place of the one that runs: `deploy.py --to FOLDER --url http://…`.

FOLDER belongs to the host, which runs what its file `current` names. The end of this program is the end of the
deployment: it waits until the service answers with the new version.
"""

import argparse
import http.client
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from greeter import VERSION

PATIENCE_S = 20.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    """Copy, switch, wait; 1 when the new version does not come up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    release = options.to / "releases" / f"{VERSION}-{time.time_ns()}"
    shutil.copytree(Path(__file__).parent, release, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    print(f"copied to {release.name}")
    switch = options.to / "current.new"
    switch.write_text(release.name, "utf-8")
    switch.replace(options.to / "current")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if running(options.url) == VERSION:
            print(f"{VERSION} answers")
            return 0
        time.sleep(0.2)
    print(f"{VERSION} does not answer after {PATIENCE_S:.0f} s", file=sys.stderr)
    return 1


def running(url: str) -> str:
    """The version that answers; empty while none does, or the old one is ended before it has."""
    try:
        with DIRECT.open(f"{url}/version", timeout=1) as answer:
            return str(json.load(answer)["version"])
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError, KeyError):
        return ""


sys.exit(main())
