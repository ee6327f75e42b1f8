"""What the documentation says is what the code does."""

from __future__ import annotations

import re
import types
import typing
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from bot import telemetry
from bot.check_settings import MetricsFrame
from bot.cli import cli
from bot.deployment_settings import EnvironmentSettings, ServiceSettings
from bot.domain.commands import VERBS, Verb
from bot.limits import SourceFrame
from bot.settings import ApiClientSettings, DestinationFrame, RoleSettings, RouteSettings, Settings, load
from bot.tracker_settings import TrackerFrame
from integrations.outside import connect_outside
from integrations.registry import METRICS, PLATFORMS, SOURCES, TRACKERS
from tests.fakes import FakeClock

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("playground/*.md")])
INTERNAL = {"folder", "secrets"}  # filled in by the loader, not by the file
ENVIRONMENT = defaultdict(
    lambda: "a-long-enough-secret",
    SLACK_BOT_TOKEN="xoxb-documented",
    SLACK_APP_TOKEN="xapp-documented",
    DINGTALK_OPS_URL="https://oapi.dingtalk.com/robot/send?access_token=documented",
    DINGTALK_ROBOT_URL="https://oapi.dingtalk.com/robot/send?access_token=documented",
)
SECTIONS = """
platforms: {slack: {bot_token: "${SLACK_BOT_TOKEN}", app_token: "${SLACK_APP_TOKEN}"}}
"""


def read(name: str) -> str:
    """A page of the documentation."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """Every example in a language, with its page."""
    for page in PAGES:
        for found in re.finditer(
            rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            yield page, found[1]


def rows(section: str) -> list[list[str]]:
    """The cells of a section's tables, without their heads."""
    table = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    rules = [at for at, row in enumerate(cells) if set("".join(row)) <= set("-")]
    return [row for at, row in enumerate(cells) if at not in rules and at + 1 not in rules]


# --- settings


def models() -> dict[str, type[BaseModel]]:
    """Every model of the configuration by the heading of its section."""
    found: dict[str, type[BaseModel]] = {"Top level": Settings, **nested(Settings)}
    for kind, spec in PLATFORMS.items():
        found |= deep(f"platforms.{kind}", spec.config) | deep(f"destinations.<name>.{kind}", spec.destination)
    for kind, source in SOURCES.items():
        found[f"sources.<name>: {kind}"] = source.config
        found |= {f"sources.<name>.{path}": model for path, model in inner(source.config).items()}
    for kind, tracker in TRACKERS.items():
        found[f"trackers.<name>: {kind}"] = tracker.config
        found |= {f"trackers.<name>.{path}": model for path, model in inner(tracker.config).items()}
    found |= deep("trackers.<name>", TrackerFrame)
    for kind, metric in METRICS.items():
        found[f"metrics.<name>: {kind}"] = metric.config
        found |= {f"metrics.<name>.{path}": model for path, model in inner(metric.config).items()}
    found |= firsts(deep("environments.<name>", EnvironmentSettings) | deep("services.<name>", ServiceSettings))
    found |= deep("api.<name>", ApiClientSettings) | {"metrics.<name>": MetricsFrame}
    found |= deep("destinations.<name>", DestinationFrame)
    found["sources.<name>"] = SourceFrame
    return found | deep("routes[]", RouteSettings) | deep("roles.<name>", RoleSettings)


def deep(path: str, model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """A model and those within it."""
    found = {path: model}
    for name, within in inner(model).items():
        found |= deep(f"{path}.{name}", within)
    return found


def firsts(found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Each model where it stands first: the page tells the other places to look there."""
    return {path: model for path, model in found.items() if path == next(at for at in found if found[at] is model)}


def inner(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Models within a model: sections, named sections (`projects.<project>`), and lists of sections (`windows[]`)."""
    named = {}
    for name, field in model.model_fields.items():
        values = typing.get_args(field.annotation)
        match typing.get_origin(field.annotation):
            case kind if kind in (Mapping, dict):
                path, value = f"{name}.<{name.removesuffix('s')}>", values[1]
            case kind if kind is tuple:
                path, value = f"{name}[]", values[0]
            case _:
                continue
        if isinstance(value, type) and issubclass(value, BaseModel):
            named[path] = value
    return nested(model) | named


def nested(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Fields that are sections of their own, also where they may be left out."""
    found = {}
    for name, field in model.model_fields.items():
        kinds = (
            typing.get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else (field.annotation,)
        )
        found.update((name, kind) for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return found


def documented() -> dict[str, dict[str, str]]:
    """The page's keys and their defaults, by section."""
    sections = re.split(r"^### ", read("docs/configuration.md"), flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0].replace("`", ""): {row[0].strip("`"): row[2].replace("`", "") for row in rows(section)}
        for section in sections
    }


def shown_default(default: object) -> str:
    """A default as the page writes it."""
    match default:
        case bool():
            return str(default).lower()
        case str() | int() | float():
            return str(default)
        case tuple():
            return ", ".join(str(item) for item in default)
        case _:
            return ""


def test_every_section_is_documented() -> None:
    """No section is missing, and none stands there that does not exist."""
    assert sorted(documented()) == sorted(models())


@pytest.mark.parametrize("section", sorted(models()))
def test_every_setting_is_documented(section: str) -> None:
    """Every key with its default, and no key that is not understood."""
    model = models()[section]
    expected = {}
    for name, field in model.model_fields.items():
        if name == "kind" and section.startswith(("sources.", "metrics.", "trackers.")):
            expected[name] = "required"  # it chooses the model
        elif model is not Settings or name not in INTERNAL:
            expected[field.alias or name] = "required" if field.is_required() else shown_default(field.default)
    if section == "destinations.<name>":
        expected |= dict.fromkeys(PLATFORMS, "")
    assert documented()[section] == expected


def completed(example: str) -> str:
    """An example with the sections it takes for granted."""
    given = set(re.findall(r"^(\w+):", example, re.MULTILINE))
    return example + "".join(
        line for line in SECTIONS.splitlines(keepends=True) if line.split(":")[0].strip() not in given
    )


def accept(example: str, folder: Path) -> None:
    """Load an example with its secrets filled in, and let every integration validate its part."""
    for name in re.findall(r"\{file: ([\w/.-]+)\}", example):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a-long-enough-secret", encoding="utf-8")
    path = folder / "shipmate.yaml"
    path.write_text(completed(example), encoding="utf-8")
    names = re.findall(r"\$\{(\w+)\}", completed(example))
    outside = connect_outside(load(path, {name: ENVIRONMENT[name] for name in names}), FakeClock())
    assert outside.platforms


@pytest.mark.parametrize(
    "example", [pytest.param(text, id=f"{page.stem}-{at}") for at, (page, text) in enumerate(blocks("yaml"))]
)
def test_every_example_of_the_configuration_is_valid(example: str, tmp_path: Path) -> None:
    """Copied from its page it is accepted by the loader and by every integration."""
    accept(example, tmp_path)


def test_the_example_of_the_demo_is_valid(tmp_path: Path) -> None:
    """The commented example that the README sends people to is accepted, and has every part."""
    example = read("playground/sample/shipmate.yaml")
    accept(example, tmp_path)
    assert set(yaml.safe_load(example)) >= {"platforms", "destinations", "sources", "routes", "roles"}


# --- commands, metrics, reasons


DECIDERS = {  # no role grants these by the verb
    Verb.CONFIRM: "who asked for it, with the role that asking for it takes (`deploy` or `rollback`)",
    Verb.APPROVE: "a role of the environment's `approvals.from`",
    Verb.REVOKE: "a role of `approvals.from`",
    Verb.REJECT: "a role of `approvals.from`, or who asked for it",
}


def test_every_verb_is_documented() -> None:
    """Words in both languages, how it is written, and whether a role is needed."""
    table = rows(read("docs/commands.md"))
    told = [(row[0], row[1], row[2].strip("`"), row[3]) for row in table]
    assert told == [
        (
            ", ".join(f"`{word}`" for word in spec.words),
            ", ".join(f"`{word}`" for word in spec.chinese),
            spec.usage,
            DECIDERS.get(spec.verb, f"role with `{spec.permission}`" if spec.permission else "everybody"),
        )
        for spec in VERBS
    ]


def section_of(page: str, heading: str) -> str:
    """The part of a page below a heading of the second level."""
    return next(part for part in re.split(r"^## ", read(page), flags=re.MULTILINE) if part.startswith(heading))


def test_every_metric_is_documented() -> None:
    """Names with their labels, and none that does not exist."""
    metrics = [value for value in vars(telemetry).values() if isinstance(value, MetricWrapperBase)]
    suffixes = {"counter": "_total", "gauge": "", "histogram": ""}
    expected = {metric._name + suffixes[metric._type]: list(metric._labelnames) for metric in metrics}
    table = rows(section_of("docs/operations.md", "Metrics").partition("Worth an alarm")[0])
    assert {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in table} == expected


def test_every_reason_is_documented() -> None:
    """Whatever `explain` may show of a card is explained on the page."""
    told = set()
    for row in rows(section_of("docs/operations.md", "Reasons")):
        told |= set(re.findall(r"`([\w:<>]+)`", row[0]))
    found = set()
    modules = ("delivery", "outcomes", "budgeting", "resolving", "planning", "noise", "contents", "router")
    for name in (*(f"services/{module}.py" for module in modules), "domain/routing.py", "storage/cards.py"):
        source = (ROOT / "bot" / name).read_text(encoding="utf-8")
        found |= set(re.findall(r'"((?:paused|waiting|filtered|held|folded|dead|failed|unresolved):[^"]*)"', source))
        found |= set(re.findall(r'(?:Settlement\(\s*card\.id,|Judgement\(route, True,)\s*"(\w+)"', source))
    families = {reason.partition(":")[0] for reason in told if "<" in reason}
    assert "sent" in found
    for reason in found:
        kind, _, detail = reason.partition(":")
        assert kind in families if reason.endswith(":") or detail.startswith("{") else reason in told, reason


def test_every_command_of_the_terminal_is_documented() -> None:
    """What `shipmate --help` lists stands in the table of processes and commands."""

    def walk(command: click.Command, name: str) -> Iterator[str]:
        if isinstance(command, click.Group):
            for part in command.commands.values():
                yield from walk(part, f"{name} {part.name}")
        else:
            yield name

    table = rows(section_of("docs/operations.md", "Processes"))
    told = [row[0].strip("`") for row in table]
    assert sorted(" ".join(word for word in name.split() if word.islower()) for name in told) == sorted(
        walk(cli, "shipmate")
    )


# --- links


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings can be reached by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    """Every link to a file, with the page it stands on."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def test_every_link_leads_somewhere() -> None:
    """Files exist, and so do the headings that are linked to."""
    broken = []
    for page, target in links():
        path, _, fragment = target.partition("#")
        linked: Any = (page.parent / path).resolve() if path else page
        if not linked.exists() or (fragment and fragment not in anchors(linked)):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "docs/operations.md", "README.md"])
def test_every_file_that_is_named_exists(page: str) -> None:
    """Whoever follows a path finds something there; paths may begin at the top or in the application's folder."""
    named = set(re.findall(r"(?<![\w/.<-])((?:[\w.*-]+/)*[\w*-]+\.(?:py|po|yaml|json|lock))(?![\w/])", read(page)))
    made = {"shipmate.yaml", "EVENT.json"}  # by whoever runs it
    folders = [ROOT, ROOT / "bot", ROOT / "bot/services", ROOT / "tests", ROOT / "integrations/slack"]
    assert [name for name in named - made if not any(next(folder.glob(name), None) for folder in folders)] == []


def test_every_decision_is_in_the_index() -> None:
    """The list of decisions names each record by its title."""
    index = read("docs/adr/README.md")
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix(f"# {path.stem[:4]} ")
        assert f"[{path.stem[:4]}]({path.name}) | {title} |" in index


def test_every_fault_names_a_test_that_exists() -> None:
    """The table of faults promises nothing that no test shows."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", read("docs/reliability.md"))
    assert len(named) > 20
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in read(path)]
    assert missing == []
