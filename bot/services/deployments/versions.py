"""Which version people mean, and what lies between two of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bot.domain.builds import Build, BuildStatus
from bot.domain.deployment_lines import LATEST, seen
from bot.domain.deployments import WAITING, Change, DeploymentState, Version
from bot.domain.services import Service
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid, Conflict, IntegrationError
from bot.ports import Commit, Store, Transaction
from bot.services.heard import readable_builds
from bot.services.sources import Sources
from bot.services.trackers import Trackers
from bot.telemetry import logger

MOST_BUILDS = 100
LEARN_S = 60.0  # what was not told is asked for again so often
MOST_CHANGES = 1000  # commits between two versions that are asked for
SHORT = 8  # characters of a commit, as it is named

log = logger(__name__)
_BEGAN = frozenset(DeploymentState) - WAITING
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_BUILD = re.compile(r"(?P<project>[^#\s]*)#(?P<number>\S+)")


@dataclass(frozen=True, slots=True)
class Brought:
    """The commits between two versions, newest first: of the new one's own branch, and of others meanwhile.

    They are all of them only if `is_known`; if they `may_be_learned` it was a matter of the moment that they are not.
    With `is_back` their source says that the new one is the older one.
    """

    changes: tuple[Change, ...] = ()
    aside: tuple[Change, ...] = ()
    is_known: bool = True
    may_be_learned: bool = False
    is_back: bool = False


NOTHING = Brought()


class Versions:
    """Finds versions among a service's builds, or among what was deployed before."""

    def __init__(self, store: Store, sources: Sources, trackers: Trackers) -> None:
        self._trackers = trackers
        self._store = store
        self._sources = sources

    def resolve(self, service: Service, word: str, *, is_to_run: bool = True) -> Version:
        """The version that `word` names, as `find` does."""
        return self.find(service, word, is_to_run=is_to_run)[0]

    def find(self, service: Service, word: str, *, is_to_run: bool = True) -> tuple[Version, str]:
        """The version that `word` names: a tag or branch, a commit, `#12`, `LATEST`, or one deployed before.

        Beside it is the branch that it was built on, as far as its build tells.

        CommandInvalid (`unknown_version`) names the newest one; Conflict where it is to run and its build is not a
        good one.
        """
        word, builds = seen(word), self._builds(service)
        found = _find(builds, word, service.build_branch)
        if found is not None:
            if is_to_run and found.status is not BuildStatus.SUCCESS:
                raise Conflict("{build} is no good build: it cannot be deployed.", build=found.key.short)
            version = replace(_version(found, word), build=str(_first_of(builds, found).key))
            return self._store.read(lambda tx: _as_first_deployed(tx, service.name, version)), found.facts.branch or ""
        known = self._store.read(lambda tx: _deployed(tx, service.name, word))
        if known is not None:
            return known
        if service.takes_any_version and word not in ("", LATEST):
            return Version(word), ""
        newest = _find(builds, LATEST, service.build_branch)
        name = f"{newest.facts.branch or _version(newest, LATEST).name} (build:{newest.key.short})" if newest else None
        raise CommandInvalid("unknown_version", name)

    def pinned(self, service: Service, version: Version) -> Version:
        """The version by its commit where its name is, or was, that of another one too: a branch moves on.

        Conflict where it has such a name and its build tells no commit.
        """
        if version.name in (version.commit[:SHORT], version.commit) or "#" in version.name:
            return version
        builds = [build for build in self._builds(service) if build.facts.branch == version.name]
        if version.commit:
            commits = {build.facts.commit for build in builds if build.facts.commit}
            commits |= self._store.read(lambda tx: _commits_of(tx, service.name, version.name))
            return replace(version, name=version.commit[:SHORT]) if commits - {version.commit} else version
        if version.build and any(str(build.key) != version.build for build in builds):
            raise Conflict(
                "{version} was built more than once, and its builds do not tell of which commits: name a tag, or a "
                "build.",
                version=version.name,
            )
        return version

    def between(self, service: Service, old: Version | None, new: Version, *, by_builds: bool = True) -> Brought:
        """The commits after `old` up to `new`, as far as the service's builds and their source tell them.

        What was built earlier brings nothing, unless `by_builds` is off: an old commit may be built again. Whether
        what came on another branch is part of the new version nobody here can tell: that is kept apart. A service
        without builds, or whose builds tell of no commits, has nothing that could be known.
        """
        if old is None or not service.build_source or old.build == new.build != "":
            return NOTHING
        if not (old.build and new.build) or old.build.rpartition("#")[0] != new.build.rpartition("#")[0]:
            return Brought(is_known=False)
        if by_builds and _order(new.build) < _order(old.build):  # nothing is new in it
            return NOTHING
        reader = self._sources.reader(service.build_source)
        if reader is None:
            return self._heard(service, old, new)
        try:
            told = reader.between(service.build_project, old, new, MOST_CHANGES)
        except IntegrationError as problem:
            log.warning("commits not read, those that were heard of are shown", service=service.name, error=problem)
            heard = self._heard(service, old, new)
            return replace(heard, is_known=False, may_be_learned=problem.recoverable)
        titles = self._titles(service) if any(not commit.title for commit in told.commits) else {}
        named = (replace(one, title=one.title or titles.get(one.revision, "")) for one in told.commits)
        changes, aside = self._changes(named, told.branch), self._changes(told.aside)
        return Brought(changes, aside, told.is_all, not told.is_all and told.may_tell_more, told.is_back)

    def _heard(self, service: Service, old: Version, new: Version) -> Brought:
        """The same by the builds that were heard of, each with the commit that it was built of."""
        about = (service.build_project, MOST_BUILDS)
        known, lost = self._store.read(lambda tx: (tx.subjects.newest(*about), tx.subjects.unreadable(*about)))
        ours = [record for record in known if record.key.source == service.build_source]
        heard = readable_builds(ours)
        builds = [build for build in heard if _order(old.build) < _order(str(build.key)) <= _order(new.build)]
        branch = next((build.facts.branch for build in builds if str(build.key) == new.build), None)
        own = _built_of(build for build in builds if build.facts.branch == branch)
        aside = _built_of(build for build in builds if build.facts.branch != branch)
        since_old = takewhile(lambda commit: commit.revision != old.commit, own)
        project, told = new.build.rpartition("#")[0], {str(build.key) for build in heard}
        keys = [*(str(record.key) for record in ours), *(key for key in lost if key.rpartition("#")[0] == project)]
        is_lost = any(_order(old.build) < _order(key) < _order(new.build) for key in keys if key not in told)
        is_known = {old.build, new.build} <= told and not is_lost  # what it brought may be what cannot be undone
        return Brought(self._changes(since_old, branch or ""), self._changes(aside), is_known)

    def _titles(self, service: Service) -> Mapping[str, str]:
        """The titles of commits that builds were heard to be built of."""
        known = self._store.read(lambda tx: tx.subjects.newest(service.build_project, MOST_BUILDS))
        facts = [build.facts for build in readable_builds(known)]
        return {one.commit: one.commit_title for one in facts if one.commit and one.commit_title}

    def _changes(self, commits: Iterable[Commit], branch: str = "") -> tuple[Change, ...]:
        """Each commit once, with the issues that it names."""
        changes: dict[str, Change] = {}
        for commit in commits:
            issues = self._trackers.keys_in(f"{branch} {commit.title}")
            changes.setdefault(commit.revision, Change(commit.revision, commit.title[:200], commit.author, issues))
        return tuple(changes.values())

    def _builds(self, service: Service) -> Sequence[Build]:
        """The newest builds of a service, newest first; what was heard of them where their source is away."""
        if not service.build_source:
            return ()
        reader = self._sources.reader(service.build_source)
        if reader is not None:
            try:
                return reader.list_builds(service.build_project, MOST_BUILDS)
            except IntegrationError as problem:
                if not problem.recoverable:
                    raise
        known = self._store.read(lambda tx: tx.subjects.newest(service.build_project, MOST_BUILDS))
        return readable_builds(record for record in known if record.key.source == service.build_source)


def _built_of(builds: Iterable[Build]) -> Iterator[Commit]:
    """The commit of each build that tells its own."""
    for build in builds:
        if build.facts.commit:
            yield Commit(build.facts.commit, build.facts.commit_title or "", build.facts.author or "")


def _find(builds: Sequence[Build], word: str, branch: str) -> Build | None:
    """The build that a word names: good ones before others, newer before older.

    The latest is the newest of a `branch`, or of any; a commit that was only built again is no newer for that.
    """
    if word == LATEST:
        good = [build for build in builds if build.status is BuildStatus.SUCCESS]
        asked = (build for build in good if not branch or build.facts.branch == branch)
        return next((build for build in asked if _first_of(good, build) is build), None)
    number = _BUILD.fullmatch(word)
    if number is not None:
        named = [build for build in builds if build.key.number == number["number"]]
        return next((build for build in named if number["project"] in _names_of(build.key)), None)
    named = [build for build in builds if build.facts.branch == word]
    if not named and _COMMIT.fullmatch(word.lower()):
        named = [build for build in builds if (build.facts.commit or "").startswith(word.lower())]
    good = [build for build in named if build.status is BuildStatus.SUCCESS]
    return next(iter(good or named), None)


def _first_of(builds: Sequence[Build], found: Build) -> Build:
    """The first good build of the same commit: what was only built again is no newer than it was."""
    about = (found.facts.commit, found.facts.branch)
    good = [build for build in builds if build.status is BuildStatus.SUCCESS]
    same = [build for build in good if found.facts.commit and (build.facts.commit, build.facts.branch) == about]
    return same[-1] if same else found


def _as_first_deployed(tx: Transaction, service: str, version: Version) -> Version:
    """The version by the build that it was first deployed as, where its source has that among its newest no more."""
    project, commit = version.build.rpartition("#")[0], version.commit
    known = [one.version for one in tx.deployments.newest(service, None, _BEGAN, MOST_BUILDS) if commit]
    same = [one for one in known if (one.name, one.commit) == (version.name, commit)]
    builds = [one.build for one in same if one.build.rpartition("#")[0] == project]
    return replace(version, build=min((version.build, *builds), key=_order))


def _names_of(key: SubjectKey) -> tuple[str, ...]:
    """What may stand before the number of a build: nothing, or its own project, as people or keys write it."""
    whole = f"{key.source}/{key.project}"
    return "", key.project, whole, f"{key.kind}:{whole}"


def _version(build: Build, word: str) -> Version:
    commit = build.facts.commit or ""
    is_other = word in (LATEST, build.key.short) or _COMMIT.fullmatch(word.lower()) or "#" in word
    is_name = build.facts.branch == word or not is_other  # a tag may look like a commit, as a date does
    return Version(word if is_name else (commit[:SHORT] or f"#{build.key.number}"), commit, str(build.key))


def _deployed(tx: Transaction, service: str, word: str) -> tuple[Version, str] | None:
    """A version of that name, or commit, that was deployed before, and its branch."""
    for deployment in tx.deployments.newest(service, None, _BEGAN, MOST_BUILDS):
        version = deployment.version
        if version.name == word:
            return version, deployment.branch
        if _COMMIT.fullmatch(word.lower()) and version.commit.startswith(word.lower()):
            return replace(version, name=version.commit[:SHORT]), deployment.branch
    return None


def _commits_of(tx: Transaction, service: str, name: str) -> set[str]:
    """Of which commits a version of that name was deployed before."""
    newest = tx.deployments.newest(service, None, _BEGAN, MOST_BUILDS)
    return {one.version.commit for one in newest if one.version.name == name and one.version.commit}


def moves_on(tx: Transaction, service: str, version: Version) -> bool:
    """Whether a version's name is, or was, that of another commit too, as a branch's is: as far as it was heard of."""
    if not (version.commit and version.build):
        return False
    key = SubjectKey.parse(version.build)
    heard = [record for record in tx.subjects.newest(key.project, MOST_BUILDS) if record.key.source == key.source]
    facts = [build.facts for build in readable_builds(heard)]
    commits = {one.commit for one in facts if one.commit and one.branch == version.name}
    return bool((commits | _commits_of(tx, service, version.name)) - {version.commit})


def _order(build: str) -> tuple[int, int, str]:
    """Builds of one project in the order of their numbers."""
    number = build.rpartition("#")[2]
    return (0, int(number), "") if number.isdigit() else (1, 0, number)
