"""One transaction's view of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.fernet import MultiFernet
from sqlalchemy import Connection

from bot.ports import Arrival
from bot.storage.budgets import SqlBudgets
from bot.storage.cards import SqlCards
from bot.storage.deliveries import SqlDeliveries
from bot.storage.deployments import SqlDeployments, SqlLocks
from bot.storage.events import SqlEventLog
from bot.storage.groups import Piece
from bot.storage.inspection import SqlInspection
from bot.storage.noise import SqlNoise
from bot.storage.pacing import SqlPacing
from bot.storage.people import SqlAccounts, SqlJoining
from bot.storage.places import SqlAuditTrail, SqlPlaces, SqlSubscriptions
from bot.storage.retention import SqlRetention
from bot.storage.subjects import SqlSubjects
from bot.storage.tracking import SqlPolls, SqlTokens, SqlTrackerTasks
from bot.storage.unit import Unit
from bot.storage.work import SqlCommands, SqlJobs


class SqlTransaction:
    """All groups of operations over one connection."""

    __slots__ = (
        "accounts",
        "audit",
        "budgets",
        "cards",
        "commands",
        "deliveries",
        "deployments",
        "events",
        "inspection",
        "jobs",
        "joining",
        "locks",
        "noise",
        "pacing",
        "places",
        "polls",
        "retention",
        "subjects",
        "subscriptions",
        "tokens",
        "tracker_tasks",
        "unit",
    )

    def __init__(self, connection: Connection, cipher: MultiFernet) -> None:
        self.unit = unit = Unit(connection)
        self.events = SqlEventLog(unit)
        self.subjects = SqlSubjects(unit)
        self.cards = SqlCards(unit)
        self.deliveries = SqlDeliveries(unit)
        self.pacing = SqlPacing(unit)
        self.budgets = SqlBudgets(unit)
        self.jobs = SqlJobs(unit)
        self.commands = SqlCommands(unit, cipher)
        self.deployments = SqlDeployments(unit)
        self.locks = SqlLocks(unit)
        self.places = SqlPlaces(unit)
        self.retention = SqlRetention(unit)
        self.subscriptions = SqlSubscriptions(unit)
        self.noise = SqlNoise(unit)
        self.audit = SqlAuditTrail(unit)
        self.inspection = SqlInspection(unit)
        self.tracker_tasks = SqlTrackerTasks(unit)
        self.polls = SqlPolls(unit)
        self.tokens = SqlTokens(unit, cipher)
        self.accounts = SqlAccounts(unit)
        self.joining = SqlJoining(unit, cipher)

    def expect(self, arrivals: Sequence[Arrival]) -> None:
        """Ask at once, until `rest`, for what storing all these events will ask for."""
        events = [event for arrival in arrivals for event in arrival.events]
        self.events.expect(arrivals)
        self.cards.expect(list({str(event.subject) for event in events}), self.subjects.expect(events))
        self.subscriptions.expect(list({event.subject.project for event in events}))

    def rest(self) -> None:
        """Ask again from now on: others than those who store events may change what was asked for."""
        self.subjects.rest()
        self.cards.rest()

    def run(self, pieces: Sequence[Piece]) -> list[Any]:
        """What the pieces return, those first that store events; some of it may wait to be written."""
        arrivals = [piece.arrival for piece in pieces if piece.arrival]
        if sum(len(arrival.events) for arrival in arrivals) > 1:
            self.expect(arrivals)
        results = [piece.work(self) for piece in pieces if piece.arrival]
        self.rest()
        return results + [piece.work(self) for piece in pieces if not piece.arrival]
