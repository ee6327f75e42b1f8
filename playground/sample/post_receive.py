"""Git's post-receive hook of the sample repository: tells Buildbot about each pushed branch, like a code host would.

Usage: post_receive.py SETTINGS.json, with "old new ref" lines on standard input. A Buildbot that is not running is no
error for who pushes.
"""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DELETED = "0" * 40


def git(*arguments: str) -> str:
    """Run git in the repository that received the push and return what it printed."""
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, encoding="utf-8")  # noqa: S603, S607 - fixed words and object names given by git
    return done.stdout.strip()


def tell(settings: dict[str, str], branch: str, revision: str) -> None:
    """Submit the newest commit of `branch` as one change."""
    author, comments = git("show", "-s", "--format=%an <%ae>%x00%B", revision).split("\0", 1)
    files = git("-c", "core.quotePath=false", "show", "--name-only", "--format=", revision).splitlines()
    form = {
        "author": author,
        "comments": comments.strip(),
        "revision": revision,
        "branch": branch,
        "repository": settings["repository"],
        "project": "sample",
        "files": json.dumps(files),
    }
    credentials = base64.b64encode(f"hook:{settings['hook_password']}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the address is our own settings file's, on this machine
        f"{settings['www_url']}change_hook/base",
        data=urllib.parse.urlencode(form).encode(),
        headers={"Authorization": f"Basic {credentials}"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=5):
        print(f"Buildbot will build {branch} at {revision[:8]}")


def main() -> None:
    """Go through the pushed references; only branches that still exist are told."""
    settings = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    for line in sys.stdin:
        _, new, reference = line.split()
        if new == DELETED or not reference.startswith("refs/heads/"):
            continue
        try:
            tell(settings, reference.removeprefix("refs/heads/"), new)
        except (urllib.error.URLError, TimeoutError) as error:
            print(f"Buildbot was not told: {error}")


main()
