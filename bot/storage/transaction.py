"""One transaction's view of the database."""

from __future__ import annotations

from cryptography.fernet import MultiFernet
from sqlalchemy import Connection

from bot.storage.budgets import SqlBudgets
from bot.storage.cards import SqlCards, SqlDeliveries
from bot.storage.deployments import SqlDeployments, SqlLocks
from bot.storage.inspection import SqlInspection
from bot.storage.noise import SqlNoise
from bot.storage.pacing import SqlPacing
from bot.storage.people import SqlAccounts, SqlJoining
from bot.storage.places import SqlAuditTrail, SqlPlaces, SqlSubscriptions
from bot.storage.retention import SqlRetention
from bot.storage.subjects import SqlEventLog, SqlSubjects
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
