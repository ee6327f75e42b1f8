"""The sample project's git repository."""

import subprocess
import sys
from pathlib import Path

import pytest

from playground.repository import ALICE, RepositoryError, SampleRepository, git_environment


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints in `folder`."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, env=git_environment()
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> SampleRepository:
    """A new repository and its checkout."""
    made = SampleRepository(bare=tmp_path / "sample.git", checkout=tmp_path / "sample")
    made.create()
    return made


def test_history_has_named_authors_on_two_branches(repository: SampleRepository) -> None:
    """main is Bob's, feature/avatars 陈伟's."""
    authors = git(repository.bare, "for-each-ref", "--format=%(refname:short) %(authorname)", "refs/heads")
    assert authors.splitlines() == ["feature/avatars 陈伟", "main Bob"]


def test_a_push_arrives_in_the_bare_repository(repository: SampleRepository) -> None:
    """A pushed commit is Alice's, on main, and its subject is a line of CHANGES.md."""
    revision = repository.push("Greet people")
    assert git(repository.bare, "rev-parse", "main") == revision
    assert (
        git(repository.bare, "show", "-s", "--format=%an <%ae> %s", revision) == f"Alice <{ALICE.email}> Greet people"
    )
    assert git(repository.bare, "show", "main:CHANGES.md").splitlines()[-1] == "- Greet people"


def test_settings_of_the_person_at_the_keyboard_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing, hooks and variables of a surrounding git command change nothing."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = /bin/false\n[core]\n\thooksPath = /nowhere\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    repository = SampleRepository(bare=tmp_path / "sample.git", checkout=tmp_path / "sample")
    repository.create()
    assert len(repository.push("Greet people")) == 40


def test_what_git_refuses_is_said(repository: SampleRepository) -> None:
    """A branch that does not exist is an error with git's own words."""
    with pytest.raises(RepositoryError, match=r"git checkout failed: .*nowhere"):
        repository.push("Greet people", branch="nowhere")


def test_a_push_succeeds_while_buildbot_is_away(repository: SampleRepository, tmp_path: Path) -> None:
    """The hook says that nobody was told; the commit is kept."""
    settings = tmp_path / "settings.json"
    settings.write_text('{"www_url": "http://127.0.0.1:1/", "hook_password": "x", "repository": "sample.git"}')
    repository.install_hook(Path(sys.executable), settings)
    revision = repository.push("Greet people")
    assert git(repository.bare, "rev-parse", "main") == revision


def test_the_sample_fails_once_and_passes_afterwards(repository: SampleRepository, tmp_path: Path) -> None:
    """The sample's own suite: one failure on a cold cache, none on a warm one."""
    environment = git_environment() | {"PROFILE_CACHE": str(tmp_path / "cache.json"), "PYTHONDONTWRITEBYTECODE": "1"}
    suite = [sys.executable, "-m", "unittest"]
    runs = [
        subprocess.run(suite, cwd=repository.checkout, env=environment, check=False, capture_output=True, text=True)
        for _ in range(3)
    ]
    assert [run.returncode for run in runs] == [1, 0, 0]
    assert "FAILED (failures=1)" in runs[0].stderr
