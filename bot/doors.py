"""The doors that a process opens: the web door, or where there is none a door for those who watch the process."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint

from bot.application import Application
from bot.errors import ConfigError, StorageUnavailable
from bot.look import Look
from bot.ports import Clock, Store
from bot.ports.budgets import BudgetReport
from bot.services import budgeting
from bot.settings import Settings, is_listen
from bot.telemetry import logger
from handlers.gate import SPARE_THREADS
from handlers.web import WebServer, create_app

WATCH_THREADS = 4
LISTEN, METRICS_LISTEN = "server.listen", "server.metrics_listen"
METRICS_VARIABLE = "SHIPMATE_METRICS_LISTEN"

log = logger(__name__)


class Watched:
    """What a process tells of itself: why it is not ready, and whether it is connected to the chat platforms.

    No `checks` may take long: what is asked of a database is a `Look`.
    """

    def __init__(
        self,
        application: Application,
        checks: Sequence[Callable[[], str | None]],
        connections: Mapping[str, Callable[[], bool]],
        store: Store,
        clock: Clock,
    ) -> None:
        self._application = application
        self._checks = checks
        self._connections = connections
        self._store = store
        self._clock = clock
        self._budgets: Look[Sequence[BudgetReport] | None] = Look(self._ask, None)

    def readiness(self) -> str | None:
        """Why it cannot serve, None when it can."""
        problems = (problem for check in self._checks if (problem := check()))
        return next(problems, None) or self._application.unfinished

    def remarks(self) -> list[str]:
        """Further lines of `/readyz`."""
        return [f"{name}: {'connected' if is_up() else 'not connected'}" for name, is_up in self._connections.items()]

    def refresh(self) -> None:
        """Set what metrics say of the database; where it does not answer they keep what they said."""
        reports = self._budgets()
        if reports is not None:
            budgeting.show(reports, self._clock.now().timestamp())

    def _ask(self) -> Sequence[BudgetReport] | None:
        try:
            return budgeting.reports(self._store, self._clock.now().timestamp())
        except StorageUnavailable:
            return None


def web_door(settings: Settings, doors: Sequence[Blueprint], watched: Watched) -> WebServer:
    """The door to the outside; ConfigError where it cannot be opened."""
    return _open(doors, watched, settings.server.listen, settings.server.threads + SPARE_THREADS, LISTEN)


def watch_doors(settings: Settings, environment: Mapping[str, str], watched: Watched) -> list[WebServer]:
    """`/healthz`, `/readyz` and `/metrics` of a process without a web door, where an address for them is named."""
    listen, setting = settings.server.metrics_listen, METRICS_LISTEN
    if METRICS_VARIABLE in environment:
        listen, setting = environment[METRICS_VARIABLE], METRICS_VARIABLE
        if listen and not is_listen(listen):
            raise ConfigError(setting, "must be host:port, such as 127.0.0.1:9100")
    return [_open((), watched, listen, WATCH_THREADS, setting)] if listen else []


def _open(doors: Sequence[Blueprint], watched: Watched, listen: str, threads: int, setting: str) -> WebServer:
    app = create_app(doors, watched.readiness, watched.remarks, watched.refresh)
    host = listen.rpartition(":")[0]
    try:
        web = WebServer(app, listen, threads)
    except ValueError:  # waitress's word for a name that nobody knows
        raise ConfigError(setting, f"{host} is no address of this host") from None
    except OSError as problem:
        raise ConfigError(setting, _why_not(listen, problem)) from None
    log.info("listening", url=f"http://{host}:{web.port}")
    return web


def _why_not(listen: str, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"{listen} is taken by another program (another Shipmate?): end it, or choose another port"
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{listen.rpartition(':')[0]} is no address of this host"
    if problem.errno == errno.EACCES:
        return f"{listen} may not be used without more rights: choose a port above 1023"
    return f"{listen} cannot be listened on: {problem.strerror}"
