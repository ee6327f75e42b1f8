"""The command `shipmate`."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Literal

import click

from bot.errors import ConfigError, IntegrationError
from bot.settings import load
from bot.telemetry import set_up_logging

ALL_ROLES = frozenset({"web", "stream", "worker", "clock"})
_CONFIG = click.option(
    "--config",
    "path",
    default="shipmate.yaml",
    show_default=True,
    envvar="SHIPMATE_CONFIG",
    type=click.Path(path_type=Path),
    help="The configuration file.",
)


@click.group()
@click.version_option(package_name="shipmate")
def cli() -> None:
    """A ChatOps bot: one live card per build, in Slack and DingTalk."""


def _serve(path: Path, roles: frozenset[str]) -> None:
    from bot.bootstrap import build

    settings = load(path)
    set_up_logging(level=settings.log.level, as_json=settings.log.as_json)
    application = build(settings, roles)
    is_over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_over.set())
    application.start()
    is_over.wait()
    application.stop()


@cli.command()
@_CONFIG
def run(path: Path) -> None:
    """Everything in one process, on SQLite."""
    _serve(path, ALL_ROLES)


@cli.command()
@_CONFIG
def check(path: Path) -> None:
    """Validate the configuration and ask every system whether it accepts us."""
    from bot.bootstrap import connect_outside

    outside = connect_outside(load(path))
    problems = 0
    probes = {name: platform.probe for name, platform in outside.platforms.items()}
    probes |= {name: source.probe for name, source in outside.sources.items()}
    for name, probe in probes.items():
        if probe is None:
            click.echo(f"-- {name}: nothing to ask")
            continue
        try:
            click.echo(f"ok {name}: {probe()}")
        except IntegrationError as problem:
            problems += 1
            click.echo(f"!! {name}: {problem}")
    if problems:
        raise SystemExit(1)


@cli.group()
def db() -> None:
    """The database."""


@db.command("upgrade")
@_CONFIG
def db_upgrade(path: Path) -> None:
    """Bring the schema to this version."""
    from bot.bootstrap import open_database

    open_database(load(path)).dispose()
    click.echo("the schema is up to date")


@cli.group()
def slack() -> None:
    """Slack's set-up."""


@slack.command("manifest")
@click.option("--command", default="/ship", show_default=True)
@click.option("--public-url", default="", help="For HTTP mode: the address Slack reaches the bot under.")
@click.option("--name", default="Shipmate", show_default=True)
def slack_manifest(command: str, public_url: str, name: str) -> None:
    """The app's manifest, to paste where Slack asks for one."""
    from integrations.slack import manifest

    mode: Literal["http", "socket"] = "http" if public_url else "socket"
    click.echo(json.dumps(manifest(command, mode, public_url, name), indent=2, ensure_ascii=False))


def main() -> None:
    """The entry point: a wrong configuration is said in a line, without a traceback."""
    try:
        cli()
    except ConfigError as problem:
        raise SystemExit(f"shipmate: {problem}") from None
