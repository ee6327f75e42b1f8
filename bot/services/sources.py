"""The configured sources, and finding the build that people mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from bot.domain.commands import Reference
from bot.domain.services import Service
from bot.domain.subjects import MAX_KEY, SubjectKey, SubjectKind
from bot.errors import CommandInvalid
from bot.ports import BuildControl, BuildHistory, BuildReader, Transaction

MOST_PROJECTS = 4096  # of which it is kept whether they deploy something


@dataclass(frozen=True, slots=True)
class SourceAccess:
    """How one source can be asked and told things; None where it cannot.

    `projects` are those that the configuration names; where it names none, `may_have` says of a name whether the source
    may have it, which only the source itself can tell. Out of the `history` what got lost on its way is made good.
    """

    projects: tuple[str, ...] = ()
    reader: BuildReader | None = None
    control: BuildControl | None = None
    may_have: Callable[[str], bool] | None = None
    history: BuildHistory | None = None


class Sources:
    """All sources by their configured name; some of their projects carry out deployments of `services`."""

    def __init__(self, sources: Mapping[str, SourceAccess], services: Iterable[Service]) -> None:
        self._sources = dict(sources)
        self._services = tuple(services)
        # Each card asks, and there may be many services.
        self._deploys = lru_cache(MOST_PROJECTS)(self._look_who_deploys)

    def reader(self, source: str) -> BuildReader | None:
        """Who reads builds of this source."""
        access = self._sources.get(source)
        return access.reader if access else None

    def control(self, source: str) -> BuildControl | None:
        """Who acts on builds of this source."""
        access = self._sources.get(source)
        return access.control if access else None

    def history(self, source: str) -> BuildHistory | None:
        """Who lists the builds of this source."""
        access = self._sources.get(source)
        return access.history if access else None

    def with_history(self) -> frozenset[str]:
        """Names of the sources that list their builds."""
        return frozenset(name for name, access in self._sources.items() if access.history is not None)

    def readable(self) -> frozenset[str]:
        """Names of the sources that can be asked."""
        return frozenset(name for name, access in self._sources.items() if access.reader is not None)

    def locate(self, tx: Transaction, reference: Reference) -> SubjectKey:
        """The build a person means; CommandInvalid (`unknown_project`, `unknown_build`, `ambiguous`) otherwise."""
        source, project = self._split(reference)
        known = [record.key for record in tx.subjects.find(project, reference.number)]
        found = {key for key in known if key.kind is SubjectKind.BUILD and source in (None, key.source)}
        if not found:  # older than the database, or never heard of: its source may know it
            names = [source] if source else self._names_for(project)
            told = {record.key.source for record in tx.subjects.newest(project, 1)}
            if source is None and told and not any(self.is_certain(name, project) for name in names):
                names = [name for name in names if name in told]  # whose project it is has been heard
            readable = [name for name in names if self._sources[name].reader is not None]
            asked = {SubjectKey(SubjectKind.BUILD, name, project, reference.number) for name in readable}
            found = {key for key in asked if len(str(key)) <= MAX_KEY}
        if not found:
            raise CommandInvalid(*self._unknown(tx, project, reference))
        if len(found) > 1:
            raise CommandInvalid("ambiguous", ", ".join(sorted(f"{key.source}/{key.short}" for key in found)))
        return found.pop()

    def source_of(self, project: str) -> tuple[str, str]:
        """Source and project of `project` or `source/project`; CommandInvalid when no source has it."""
        source, slash, rest = project.partition("/")
        if slash and source in self._sources and _has(self._sources[source], rest):
            return source, rest
        names = self._names_for(project)
        if len(names) > 1:
            raise CommandInvalid("ambiguous", ", ".join(f"{name}/{project}" for name in names))
        if not names:
            raise CommandInvalid("unknown_project", self.nearest(project))
        return names[0], project

    def is_certain(self, source: str, project: str) -> bool:
        """Whether the configuration names the project, so that nobody has to be asked whether there is one."""
        return project in self._sources[source].projects

    def acts_on(self, build: SubjectKey) -> Collection[str]:
        """What is offered for a build: to `cancel` it, and to `retry` it where it deploys nothing.

        Nothing is where its source only tells.
        """
        if self.control(build.source) is None:
            return ()
        return ("cancel",) if self.deploys(build.source, build.project) else ("cancel", "retry")

    def deploys(self, source: str, project: str) -> bool:
        """Whether runs of a project deploy something; one whose builds are versions is built like any other."""
        return self._deploys(source, project)

    def _look_who_deploys(self, source: str, project: str) -> bool:
        is_built = any((one.build_source, one.build_project) == (source, project) for one in self._services)
        return not is_built and any(one.is_deployed_by(source, project) for one in self._services)

    def nearest(self, project: str) -> str | None:
        """The configured project whose name comes nearest, if one comes near."""
        names = {name for access in self._sources.values() for name in access.projects}
        near = get_close_matches(project, names, n=1, cutoff=0.5)
        return near[0] if near else None

    def _names_for(self, project: str) -> list[str]:
        """The sources whose configuration names a project, else those that may have it."""
        named = [name for name, access in self._sources.items() if project in access.projects]
        return named or [name for name, access in self._sources.items() if _has(access, project)]

    def _split(self, reference: Reference) -> tuple[str | None, str]:
        """`a/b#1` is project b of source a when there is such a source, else project a/b."""
        if reference.source is None or reference.source in self._sources:
            return reference.source, reference.project
        return None, f"{reference.source}/{reference.project}"

    def _unknown(self, tx: Transaction, project: str, reference: Reference) -> tuple[str, str | None]:
        if tx.subjects.newest(project, 1) or self._names_for(project):
            return "unknown_build", f"{project}#{reference.number}"
        return "unknown_project", self.nearest(project)


def _has(access: SourceAccess, project: str) -> bool:
    return project in access.projects or (access.may_have is not None and access.may_have(project))
