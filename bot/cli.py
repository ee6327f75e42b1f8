"""The command `shipmate`."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bot.cli_deliveries import CONFIG, dead, deliveries
from bot.errors import ConfigError, InputError, StorageUnavailable
from bot.stopping import LONGEST_END_S

if TYPE_CHECKING:
    from bot.settings import Settings

ALL_ROLES = frozenset({"web", "stream", "worker", "clock"})
_ENDINGS = (signal.SIGINT, signal.SIGTERM)


class _Refusal(click.ClickException):
    """What is wrong with the input, in a line, without a traceback."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - click's signature
        for line in self.message.splitlines():
            click.echo(f"shipmate: {line}", file=file, err=True)


class _Misconfiguration(_Refusal):
    """What is wrong with the configuration, or with what it names."""

    exit_code = 1


class _Shipmate(click.Group):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except (ConfigError, StorageUnavailable) as problem:
            raise _Misconfiguration(_in_lines(problem, ctx.obj)) from None
        except InputError as problem:
            raise _Refusal(str(problem)) from None


def _in_lines(problem: ConfigError | StorageUnavailable, path: Path | None) -> str:
    """What is wrong, each mistake in a line with its place in the file, as far as it is one of the file."""
    if isinstance(problem, StorageUnavailable):
        return str(problem)
    from bot.configuration import lines_of

    lines = lines_of(path) if path else {}
    said = []
    for where, words in problem.each():
        line = lines.get(where) or lines.get(where.rpartition(".")[0])
        said.append(f"{where}{f' (line {line})' if line else ''}: {words}" if where else words)
    return "\n".join(said)


@click.group(cls=_Shipmate)
@click.version_option(package_name="shipmate")
def cli() -> None:
    """A ChatOps bot: one live card per build, in Slack and DingTalk."""


def _settings(path: Path) -> Settings:
    from bot.settings import load

    click.get_current_context().find_root().obj = path
    return load(path, further=_sections)


def _sections(settings: Settings) -> list[ConfigError]:
    """What integrations cannot read: loaded only where there is something to complain about."""
    from bot.system import SystemClock
    from integrations.outside import wrong_sections

    return wrong_sections(settings, SystemClock())


# --- processes


def _serve(path: Path, roles: frozenset[str]) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second one ends the process at once."""
    is_over = threading.Event()
    # All threads inherit that these are left to one. A handler would run amid the main thread's own wait for the event,
    # whose lock that thread may hold just then.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    threading.Thread(target=_heed_signals, args=(is_over,), name="signals", daemon=True).start()
    settings = _settings(path)
    from bot.bootstrap import build
    from bot.system import make_room_for_connections
    from bot.telemetry import logger, set_up_logging

    make_room_for_connections()
    set_up_logging(level=settings.log.level, as_json=settings.log.as_json)
    log = logger(__name__)
    application = build(settings, roles)
    application.start(is_over)
    gc.collect()
    gc.freeze()  # what stands now stays: every later collection would look through it in vain
    if not is_over.is_set():
        log.info("running", roles=sorted(roles))
    is_over.wait()
    log.info("ending")
    if not application.stop():
        log.warning("not all work ended in time, its leases run out")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what still hangs in a call has had its time: the interpreter would wait for its thread


def _heed_signals(is_over: threading.Event) -> None:
    number = signal.sigwait(_ENDINGS)
    is_over.set()
    # Whatever the process is in, such as waiting for another one to upgrade the database, it is not there much longer.
    last = threading.Timer(LONGEST_END_S, os._exit, [128 + number])
    last.daemon = True
    last.start()
    os._exit(128 + signal.sigwait(_ENDINGS))


@cli.command()
@CONFIG
def run(path: Path) -> None:
    """Everything in one process."""
    _serve(path, ALL_ROLES)


def _add_process(role: str, words: str) -> None:
    def process(path: Path) -> None:
        _serve(path, frozenset({role}))

    cli.command(role, help=f"{words} Needs SHIPMATE_KEY, and `shipmate db upgrade` before.")(CONFIG(process))


_add_process("web", "Only the web door: webhooks, Slack over HTTP, /readyz, /metrics.")
_add_process("stream", "Only the connections that the bot opens: Slack's sockets, DingTalk's stream.")
_add_process("worker", "Only the work: deliveries, commands, jobs. Any number may run.")
_add_process("clock", "Only what is done by the clock.")


@cli.group()
def db() -> None:
    """The database."""


@db.command("upgrade")
@CONFIG
def db_upgrade(path: Path) -> None:
    """Bring the schema to this version."""
    from bot.storage.opening import open_database

    open_database(_settings(path), is_upgraded=True).dispose()
    click.echo("the schema is up to date")


@cli.command()
@CONFIG
@click.argument("target", metavar="PATH", type=click.Path(path_type=Path))
def backup(path: Path, target: Path) -> None:
    """Copy the SQLite database to PATH, while Shipmate runs.

    PATH must not exist. The key, without which addresses in the copy cannot be read, is not in it.
    """
    from bot.storage.backup import back_up

    size = back_up(_settings(path), target)
    click.echo(f"{target}: {size / 2**20:.1f} MiB")


# --- looking


@cli.command()
@CONFIG
def check(path: Path) -> None:
    """Validate the configuration and ask every system whether it accepts us.

    Each line begins with ok, ?? (worth a look), !! (does not work) or -- (cannot be asked). Ends with status 1 when
    something does not work.
    """
    from bot.checking import check_all

    is_well = True
    for finding in check_all(_settings(path)):
        is_well = is_well and finding.mark != "!!"
        click.echo(str(finding))
    if not is_well:
        raise SystemExit(1)


@cli.command()
@CONFIG
@click.option("--source", default="", help="The source it comes from; the first generic one unless given.")
@click.option("--after-failure", is_flag=True, help="Judge it as if the run before it had failed.")
@click.argument("event", type=click.File("rb"))
def routes(path: Path, source: str, after_failure: bool, event: Any) -> None:  # noqa: ANN401 - a binary file
    """Say which route sends what of an event where, and why not.

    EVENT is a file (- for standard input) with a body as POST /webhooks/<generic source> takes it: see
    docs/sources/generic.md. Nothing is sent, stored or asked; what channels subscribed to or muted is not known here.
    """
    from bot.rehearsal import explain

    for line in explain(_settings(path), event.read(), source=source, is_fixed=after_failure):
        click.echo(line)


@cli.command()
@click.option("--platform", default="", help="slack or dingtalk; all unless given.")
@click.option("--locale", default="", help="en or zh-CN; both unless given.")
@click.option(
    "--case",
    "case",
    default="",
    help="running, failed, fixed, cancelled, retried, digest or deployment; all unless given.",
)
@click.option("--json", "as_json", is_flag=True, help="The exact payloads, one JSON document each.")
def preview(platform: str, locale: str, case: str, as_json: bool) -> None:
    """Show example cards as each platform is sent them. No configuration is needed and nothing is sent.

    Slack's payload can be looked at in https://app.slack.com/block-kit-builder: with --json, paste its `blocks` and
    `attachments` there.
    """
    from bot.rehearsal import preview_all

    for title, shown in preview_all(platform, locale, case):
        if as_json:
            click.echo(json.dumps(shown.payload, indent=2, ensure_ascii=False))
        else:
            click.echo(f"== {title}\n\n{shown.text}\n")


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


for command in (deliveries, dead):
    cli.add_command(command)


def main() -> None:
    """The entry point."""
    cli()
