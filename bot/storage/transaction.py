"""One transaction's view of the database."""

from __future__ import annotations

from cryptography.fernet import MultiFernet
from sqlalchemy import Connection

from bot.storage.budgets import SqlBudgets
from bot.storage.cards import SqlCards, SqlDeliveries, SqlPacing
from bot.storage.deployments import SqlDeployments, SqlLocks
from bot.storage.inspection import SqlInspection
from bot.storage.noise import SqlNoise
from bot.storage.places import SqlAuditTrail, SqlPlaces, SqlSubscriptions
from bot.storage.retention import SqlRetention
from bot.storage.subjects import SqlEventLog, SqlSubjects
from bot.storage.tracking import SqlPolls, SqlTokens, SqlTrackerTasks
from bot.storage.work import SqlCommands, SqlJobs


class SqlTransaction:
    """All groups of operations over one connection."""

    __slots__ = (
        "audit",
        "budgets",
        "cards",
        "commands",
        "deliveries",
        "deployments",
        "events",
        "inspection",
        "jobs",
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
    )

    def __init__(self, connection: Connection, cipher: MultiFernet) -> None:
        self.events = SqlEventLog(connection)
        self.subjects = SqlSubjects(connection)
        self.cards = SqlCards(connection)
        self.deliveries = SqlDeliveries(connection)
        self.pacing = SqlPacing(connection)
        self.budgets = SqlBudgets(connection)
        self.jobs = SqlJobs(connection)
        self.commands = SqlCommands(connection, cipher)
        self.deployments = SqlDeployments(connection)
        self.locks = SqlLocks(connection)
        self.places = SqlPlaces(connection)
        self.retention = SqlRetention(connection)
        self.subscriptions = SqlSubscriptions(connection)
        self.noise = SqlNoise(connection)
        self.audit = SqlAuditTrail(connection)
        self.inspection = SqlInspection(connection)
        self.tracker_tasks = SqlTrackerTasks(connection)
        self.polls = SqlPolls(connection)
        self.tokens = SqlTokens(connection, cipher)
