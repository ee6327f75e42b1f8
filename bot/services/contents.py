"""What a claimed attempt shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.domain.builds import Build
from bot.domain.cards import Content, Link, Notice, Person, Text
from bot.domain.deployments import Deployment
from bot.domain.places import CARD_SLOT, CHART_SLOT, OVERDUE_SLOT, kind_of_slot
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.domain.volatile import steady
from bot.ports.charts import Charts
from bot.services.noise import rings
from bot.services.planning import Delivery
from bot.services.presenters.build import ACTS, present
from bot.services.presenters.chart import chart_notice
from bot.services.presenters.deployment import Leads, present_deployment
from bot.services.presenters.digest import digest_card, digest_overdue_notice

IssuesOf = Callable[[str | None, str | None], Sequence[Link]]
LeadsOf = Callable[[Deployment], Leads | None]
NamesOf = Callable[[Collection[str]], Mapping[str, str]]
ActsOf = Callable[[SubjectKey], Collection[str]]


def no_issues(_branch: str | None, _title: str | None) -> Sequence[Link]:
    """Where no tracker is configured."""
    return ()


def no_leads(_deployment: Deployment) -> Leads | None:
    """Where nothing is deployed."""
    return None


def no_names(_accounts: Collection[str]) -> Mapping[str, str]:
    """Where nobody is known."""
    return {}


def all_acts(_build: SubjectKey) -> Collection[str]:
    """Where every source does what it is told."""
    return ACTS


def _whole(build: Build) -> Build:
    return build


@dataclass(frozen=True, slots=True)
class Contents:
    """What is shown in slots. `issues_of` finds the issues that a branch and a commit's title name; `charts` draws.

    `names_of` are the names of accounts, as far as they are known; `leads_of` is what a deployment's card leads to;
    `acts_of` are those of ACTS that would not be refused for a build, whoever asks.
    """

    issues_of: IssuesOf = no_issues
    charts: Charts | None = None
    names_of: NamesOf = no_names
    leads_of: LeadsOf = no_leads
    acts_of: ActsOf = all_acts

    def of(self, delivery: Delivery, now: float) -> Content:
        """The newest state of the attempt's slot; LookupError and ValueError for a row that makes no sense.

        Whoever is called there is so by name: not every place can draw a mention, and an account says little.
        """
        content = self._of(delivery, now)
        called = content.mentions if isinstance(content, Notice) else content.footer
        accounts = {part.account for part in called if isinstance(part, Person) and part.is_mentioned and part.account}
        names = self.names_of(accounts) if accounts else {}
        if not names:
            return content
        if isinstance(content, Notice):
            people = tuple(replace(one, name=names.get(one.account or "", one.name)) for one in content.mentions)
            return replace(content, mentions=people)
        return replace(content, footer=_named(content.footer, names))

    def steady_of(self, delivery: Delivery, now: float) -> Content | None:
        """The same without what changes by itself in the texts of builds: states in between are compared by it.

        None where each change counts: at the end, in remarks, and of deployments, whose figures are news.
        """
        is_of_builds = delivery.subject.key.kind in (SubjectKind.BUILD, SubjectKind.DIGEST)
        if delivery.is_final or delivery.card.slot != CARD_SLOT or not is_of_builds:
            return None
        return self._of(delivery, now, steady)

    def _of(self, delivery: Delivery, now: float, seen: Callable[[Build], Build] = _whole) -> Content:
        card, flapping = delivery.card, delivery.flapping
        if kind_of_slot(card.slot) == CHART_SLOT:
            return chart_notice(card.options, card.slot, self.charts)
        if delivery.digest is not None:
            digest = replace(delivery.digest, shown=[seen(build) for build in delivery.digest.shown])
            if kind_of_slot(card.slot) == OVERDUE_SLOT:
                return digest_overdue_notice(digest, card.options["locale"], card.options["timezone"])
            return digest_card(digest, card.options["locale"], card.options["timezone"])
        # Where each state is a post of its own the end calls people itself, once.
        calls = not delivery.capabilities.can_edit and not card.shown_final
        options = {**card.options, "mentions_in_card": calls}
        if flapping is not None:
            options |= {"turns": flapping.turns, "turns_per_s": flapping.per_s}
            options["mentions_in_card"] = calls and flapping.resumes_at <= now
        if delivery.subject.key.kind is SubjectKind.DEPLOYMENT:
            deployment = delivery.subject.deployment()
            leads = self.leads_of(deployment)
            return present_deployment(deployment, card.slot, options, delivery.place.platform, leads)
        build = delivery.subject.build()
        if issues := self.issues_of(build.facts.branch, build.facts.commit_title):
            options["issues"] = issues
        options["acts"] = self.acts_of(build.key)
        return present(seen(build), card.slot, options)


def _named(words: Text, names: Mapping[str, str]) -> Text:
    return tuple(
        replace(part, name=names.get(part.account or "", part.name)) if isinstance(part, Person) else part
        for part in words
    )


def spent_scope(delivery: Delivery, now: float) -> str | None:
    """The budget of a flapping branch that the attempt uses up when it succeeds."""
    flapping = delivery.flapping
    if flapping is None or flapping.resumes_at > now:
        return None
    return flapping.scope if rings(delivery.card, delivery.subject, delivery.capabilities) else None
