"""The sample project as a git repository: a bare one that Buildbot builds from, and a checkout for people to change."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent / "sample"


class RepositoryError(Exception):
    """git failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who commits to the sample repository."""

    name: str
    email: str


ALICE = Author("Alice", "alice@example.com")
BOB = Author("Bob", "bob@example.com")
CHEN_WEI = Author("陈伟", "chen.wei@example.com")


def git_environment() -> dict[str, str]:
    """Return the environment for git: nothing of the caller's repository or settings (signing, hooks, templates)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True, slots=True)
class SampleRepository:
    """A bare repository and one checkout of it; RepositoryError where git fails."""

    bare: Path
    checkout: Path

    def create(self) -> None:
        """Make both from `playground/sample`: some history on main, and feature/avatars, whose tests fail."""
        self.bare.parent.mkdir(parents=True, exist_ok=True)
        self._git(self.bare.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        # Whoever pushes may have set core.hooksPath for all repositories; this one keeps its own hook.
        self._git(self.bare, "config", "core.hooksPath", str(self.bare / "hooks"))
        self._git(self.bare.parent, "clone", "--quiet", str(self.bare), str(self.checkout))
        self._git(self.checkout, "checkout", "--quiet", "-B", "main")
        _copy(SAMPLE / "project", self.checkout)
        self._commit("Accept e-mail addresses in any case", BOB)
        self._git(self.checkout, "checkout", "--quiet", "-b", "feature/avatars")
        _copy(SAMPLE / "branches" / "avatars", self.checkout)
        self._commit("头像：接受 PNG 与 JPEG 图片", CHEN_WEI)
        self._create_greeter()
        self._git(self.checkout, "checkout", "--quiet", "main")
        self._git(self.checkout, "push", "--quiet", "origin", "main", "feature/avatars")

    def _create_greeter(self) -> None:
        """Make the two versions of the greeter, each a branch without the sample's own history; they are not pushed."""
        self._git(self.checkout, "checkout", "--quiet", "--orphan", "v1")
        self._git(self.checkout, "rm", "-r", "--quiet", "--force", ".")
        _copy(SAMPLE / "greeter" / "v1", self.checkout)
        self._commit("GREET-1 Greet in two languages", BOB)
        self._git(self.checkout, "checkout", "--quiet", "-b", "v2")
        _copy(SAMPLE / "greeter" / "v2", self.checkout)
        self._commit("GREET-7 Greet by region", CHEN_WEI)

    def install_hook(self, python: Path, settings: Path) -> None:
        """From now on tell the Buildbot described by the file `settings` about every push."""
        hook = self.bare / "hooks" / "post-receive"
        command = shlex.join([str(python), str(SAMPLE / "post_receive.py"), str(settings)])
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\nexec {command}\n", "utf-8")
        hook.chmod(0o755)

    def push(self, subject: str, *, author: Author = ALICE, branch: str = "main") -> str:
        """Commit a new line of CHANGES.md as `author`, push it, and return the revision."""
        self._git(self.checkout, "checkout", "--quiet", branch)
        changes = self.checkout / "CHANGES.md"
        changes.write_text(f"{changes.read_text('utf-8')}- {subject}\n", "utf-8")
        self._commit(subject, author)
        self._git(self.checkout, "push", "--quiet", "origin", branch)
        return self._git(self.checkout, "rev-parse", "HEAD")

    def release(self, version: str) -> None:
        """Push a version of the greeter, `v1` (good) or `v2` (its greetings are missing)."""
        self._git(self.checkout, "push", "--quiet", "origin", version)

    def _commit(self, subject: str, author: Author) -> None:
        identity = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_COMMITTER_NAME": author.name,
            "GIT_COMMITTER_EMAIL": author.email,
        }
        self._git(self.checkout, "add", "--all")
        self._git(self.checkout, "commit", "--quiet", "--message", subject, environment=identity)

    @staticmethod
    def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(  # noqa: S603 - fixed commands on our own folders
            ["git", *arguments],  # noqa: S607 - the git on PATH is the one the reader has installed
            cwd=folder,
            env=git_environment() | dict(environment or {}),
            check=False,
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode:
            raise RepositoryError(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's files as new ones: git takes a file of the same size and an old time for one it knows."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored, copy_function=shutil.copyfile)
