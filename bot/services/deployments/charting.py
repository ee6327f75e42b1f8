"""Charts of a deployment's checks, for who asks: words at once, a picture below its card where that can be shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.domain.cards import Card
from bot.domain.checks import CHARTED, CheckSpec, Verdict
from bot.domain.commands import CommandLine
from bot.domain.deployment_lines import parse_chart
from bot.domain.deployments import Deployment
from bot.domain.places import CARD_SLOT, CHART_SLOT, Place
from bot.domain.services import Service
from bot.errors import CommandInvalid
from bot.i18n import translate
from bot.ports import Clock, Messenger, Slot, Store, Transaction
from bot.ports.charts import Chart, Charts
from bot.services.deployments.judging import context_of
from bot.services.deployments.records import named
from bot.services.presenters.chart import chart_card, stored
from bot.services.verification import Verification

GRID_S = 15.0  # who asks twice within it gets one picture
LEAST_BEFORE_S, MOST_BEFORE_S = 60.0, 3600.0
LOOKED_AT = 20
OFFERED = 4
SHORT = 20
_BAD = (Verdict.FAILED, Verdict.ERROR, Verdict.NO_DATA)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be drawn: a check of a deployment, and whether its card stands where it was asked for."""

    deployment: Deployment
    spec: CheckSpec
    others: Sequence[CheckSpec]
    has_card: bool


@dataclass
class Charting:
    """Answers `chart`. `messengers` say which places take pictures; without `charts` none is drawn."""

    store: Store
    clock: Clock
    services: Mapping[str, Service]
    verification: Verification
    charts: Charts | None = None
    messengers: Mapping[str, Messenger] = field(default_factory=dict)

    def answer(self, line: CommandLine, place: str, locale: str, timezone: str) -> Card:
        """The chart in words; its picture is delivered like any card. CommandInvalid, IntegrationError."""
        asked = self.store.read(lambda tx: self._asked(tx, line, place))
        deployment, context = asked.deployment, context_of(asked.deployment)
        start, end = self._range(deployment)
        series = self.verification.history(asked.spec, context, start=start, end=end)
        lowest, highest = asked.spec.bounds
        version, short = deployment.version.name, deployment.key.short
        chart = Chart(
            f"{asked.spec.name} · {short} {version} → {deployment.environment}",
            series.points,
            lowest,
            highest,
            marks={version: deployment.started_at},
            nothing=translate(locale, "no data"),
            timezone=timezone,
        )
        has_picture = asked.has_card and self._can_show(place)
        if has_picture:
            self._open(deployment, place, f"{CHART_SLOT}@{_short(asked.spec.name)}@{end:.0f}", chart, locale)
        link = self.verification.link(asked.spec, context, start=start, end=end)
        others = [(one.name, f"chart {short} {one.name}") for one in asked.others[:OFFERED]]
        return chart_card(chart, link=link, others=others, has_picture=has_picture, locale=locale)

    def _asked(self, tx: Transaction, line: CommandLine, place: str) -> Asked:
        about, name = parse_chart(line.arguments)
        found = self._newest(tx, about) if isinstance(about, str) else [named(tx, about)]
        deployment = next((one for one in found if one.started_at), None)
        if deployment is None:
            raise CommandInvalid("unknown_deployment", None)
        specs = self._charted(deployment)
        if not specs:
            raise CommandInvalid("nothing_charted", deployment.key.short)
        if name and name not in [spec.name for spec in specs]:
            raise CommandInvalid("unknown_check", ", ".join(spec.name for spec in specs))
        chosen = next((spec for spec in specs if spec.name == name), specs[0])
        slots = tx.cards.of_subject(str(deployment.key))
        has_card = any((one.destination, one.slot) == (place, CARD_SLOT) for one in slots)
        return Asked(deployment, chosen, [spec for spec in specs if spec is not chosen], has_card)

    def _newest(self, tx: Transaction, service: str) -> Sequence[Deployment]:
        if service not in self.services:
            raise CommandInvalid("unknown_service", ", ".join(sorted(self.services)) or None)
        newest = tx.deployments.newest(service, None, None, LOOKED_AT)
        return [one for one in newest if self._charted(one)]

    def _charted(self, deployment: Deployment) -> list[CheckSpec]:
        """The checks that have values over time, those that are not well first."""
        service = self.services.get(deployment.service)
        target = service.targets.get(deployment.environment) if service else None
        bad = {one.name for one in deployment.checks if (one.verdict or one.last_verdict) in _BAD}
        specs = [spec for spec in target.checks if spec.kind in CHARTED] if target else []
        return sorted(specs, key=lambda spec: spec.name not in bad)

    def _range(self, deployment: Deployment) -> tuple[float, float]:
        """From some time before it began until its end, or until now."""
        now = self.clock.now().timestamp()
        end = deployment.ended_at if deployment.state.is_ended else now // GRID_S * GRID_S
        end = max(end, deployment.started_at + 1.0)
        before_s = min(max(end - deployment.started_at, LEAST_BEFORE_S), MOST_BEFORE_S)
        return deployment.started_at - before_s, end

    def _can_show(self, place: str) -> bool:
        if self.charts is None or not self.charts.is_available():
            return False
        found = Place(place, place)
        messenger = self.messengers.get(found.platform)
        return messenger is not None and messenger.capabilities(found).can_upload

    def _open(self, deployment: Deployment, place: str, slot: str, chart: Chart, locale: str) -> None:
        """Want a picture below the card; the one of the same check and time that is there already will do."""
        assert self.charts is not None
        words = translate(locale, "no data")
        if not self.charts.can_draw(words):
            chart = replace(chart, nothing="no data")
        options = {"chart": stored(chart), "locale": locale, "timezone": chart.timezone}

        def work(tx: Transaction) -> None:
            record = tx.subjects.get(deployment.key)
            if record is not None:
                wanted, at = Slot(place, slot, options), self.clock.now().timestamp()
                tx.cards.open(str(deployment.key), record.revision, [wanted], is_final=True, at=at)

        self.store.write(work)


def _short(name: str) -> str:
    """A check's name in the room that a slot has for it."""
    return name if len(name) <= SHORT else f"{name[: SHORT - 7]}~{hashlib.sha256(name.encode()).hexdigest()[:6]}"
