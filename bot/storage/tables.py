"""The tables, as SQLAlchemy Core. Times are seconds since 1970 (UTC); the same SQL runs on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()
_BigId = BigInteger().with_variant(Integer, "sqlite")


def _index_where(condition: str, name: str, *columns: str, unique: bool = False) -> Index:
    """An index of those rows alone of which a condition is true."""
    return Index(name, *columns, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


events = Table(
    "events",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("source", String(100), nullable=False),
    Column("delivery_key", String(200), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject_key", String(300), nullable=False),
    Column("occurred_at", Double, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("outcome", String(40), nullable=False, server_default=""),
    Column("body", JSON, nullable=False),
    UniqueConstraint("source", "delivery_key", name="events_delivery"),
    Index("events_subject", "subject_key", "id"),
    Index("events_received", "received_at"),
)

subjects = Table(
    "subjects",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("source", String(100), nullable=False),
    Column("project", String(250), nullable=False),
    Column("number", String(100), nullable=False),
    Column("branch", String(250), nullable=False, server_default=""),
    Column("environment", String(100), nullable=False, server_default=""),
    Column("status", String(40), nullable=False),
    Column("is_finished", Boolean, nullable=False),
    Column("is_fixed", Boolean, nullable=False),
    Column("ordered_at", Double, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("folded", JSON, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("subjects_line", "source", "project", "branch", "is_finished", "ordered_at"),
    Index("subjects_project", "project", "ordered_at"),
    Index("subjects_number", "project", "number"),
    Index("subjects_recent", "ordered_at"),
    _index_where("NOT is_finished", "subjects_open", "updated_at"),
)

destinations = Table(
    "destinations",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("label", String(200), nullable=False),
    Column("arrival", Double, nullable=False, server_default="0"),
    Column("free_at", Double, nullable=False, server_default="0"),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("pause_reason", String(80), nullable=False, server_default=""),
)

places = Table(
    "places",
    metadata,
    Column("address", String(200), primary_key=True),
    Column("key", String(200), nullable=False),
    Column("label", String(200), nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("scope", String(200), primary_key=True),
    Column("arrival", Double, nullable=False),
    Column("paused_until", Double, nullable=False, server_default="0"),
    Column("calls", Integer, nullable=False, server_default="0"),
    Column("per_s", Double, nullable=False, server_default="0"),
    Column("spent", JSON),
)

budget_waits = Table(
    "budget_waits",
    metadata,
    Column("scope", String(200), primary_key=True),
    Column("destination", String(200), primary_key=True),
    Column("is_urgent", Boolean, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
)

cards = Table(
    "cards",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("subject_key", String(300), nullable=False),
    Column("destination", String(200), nullable=False),
    Column("slot", String(40), nullable=False),
    Column("wanted_revision", Integer, nullable=False),
    Column("shown_revision", Integer, nullable=False, server_default="0"),
    Column("shown_digest", String(64), nullable=False, server_default=""),
    Column("message_ref", String(300)),
    Column("is_final", Boolean, nullable=False),
    Column("final_since", Double, nullable=False, server_default="0"),
    Column("shown_final", Boolean, nullable=False, server_default=text("false")),
    Column("is_dead", Boolean, nullable=False, server_default=text("false")),
    Column("due_at", Double, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("attempt_id", String(40)),
    Column("attempt_started_at", Double),
    Column("attempt_revision", Integer),
    Column("options", JSON, nullable=False),
    Column("reason", String(80), nullable=False, server_default=""),
    Column("opened_at", Double, nullable=False),
    Column("folded_into", String(300)),
    UniqueConstraint("subject_key", "destination", "slot", name="cards_slot"),
    Index("cards_destination", "destination"),
    _index_where("wanted_revision > shown_revision AND NOT is_dead", "cards_dirty", "destination", "due_at"),
    _index_where("is_dead", "cards_dead", "id"),
    _index_where("folded_into IS NOT NULL", "cards_folded", "folded_into"),
    _index_where("slot = 'admin'", "cards_notices", "opened_at"),
    sqlite_autoincrement=True,  # a forgotten card's id never comes back: an attempt may still be under way for it
)

storms = Table(
    "storms",
    metadata,
    Column("destination", String(200), primary_key=True),
    Column("recent", JSON, nullable=False),
    Column("digest", String(300), nullable=False, server_default=""),
    Column("size", Integer, nullable=False, server_default="0"),
    Column("begun_at", Double, nullable=False, server_default="0"),
    Column("quiet_at", Double, nullable=False, server_default="0"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("card_id", _BigId, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("operation", String(20), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("outcome", String(80), nullable=False),
    Column("detail", String(200)),
    Index("attempts_card", "card_id", "started_at"),
    Index("attempts_started", "started_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("key", String(400), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("subject_key", String(300), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    Index("jobs_due", "due_at"),
    Index("jobs_subject", "subject_key"),
)

commands = Table(
    "commands",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("dedup_key", String(200), nullable=False, unique=True),
    Column("effect_key", String(400)),
    Column("account", String(200), nullable=False),
    Column("actor", JSON, nullable=False),
    Column("typed", Text, nullable=False),
    Column("via", String(20), nullable=False),
    Column("reply_to", JSON, nullable=False),
    Column("reply_url", LargeBinary),
    Column("state", String(20), nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("due_at", Double, nullable=False, server_default="0"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("triggered_at", Double),
    Column("result", JSON, nullable=False),
    Column("accepted_at", Double, nullable=False),
    Column("faults", Integer, nullable=False, server_default="0"),
    _index_where("effect_key IS NOT NULL", "commands_effect", "effect_key", unique=True),
    _index_where("is_open", "commands_open", "accepted_at"),
    Index("commands_accepted", "accepted_at"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("destination", String(200), primary_key=True),
    Column("project", String(250), primary_key=True),
    Column("is_mute", Boolean, nullable=False),
    Column("milestones", JSON, nullable=False),
    Column("locale", String(20), nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
    Index("subscriptions_project", "project"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _BigId, primary_key=True),
    Column("at", Double, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("verb", String(40), nullable=False),
    Column("target", String(400), nullable=False),
    Column("outcome", String(80), nullable=False),
    Column("detail", Text, nullable=False),
    Column("command_id", String(40), nullable=False),
    Column("previous_hash", String(64)),
    Column("hash", String(64)),
    _index_where("hash IS NULL", "audit_unsealed", "seq"),
    sqlite_autoincrement=True,
)

deployments = Table(
    "deployments",
    metadata,
    Column("number", _BigId, primary_key=True),
    Column("dedup_key", String(200), nullable=False, unique=True),
    Column("service", String(250), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("state", String(20), nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("requested_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False, server_default="0"),
    Column("due_at", Double),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("snapshot", JSON, nullable=False),
    _index_where("is_active", "deployments_active", "service", "environment", unique=True),
    Index("deployments_line", "service", "environment", "number"),
    Index("deployments_ended", "ended_at"),
    _index_where("due_at IS NOT NULL", "deployments_due", "due_at"),
    sqlite_autoincrement=True,  # people name deployments by their numbers: none comes back
)

locks = Table(
    "locks",
    metadata,
    Column("service", String(250), primary_key=True),
    Column("environment", String(100), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("account", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("at", Double, nullable=False),
)

rollback_locks = Table(  # beside those of people: who unlocks one does not open what another one keeps
    "rollback_locks",
    metadata,
    Column("service", String(250), primary_key=True),
    Column("environment", String(100), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("account", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("at", Double, nullable=False),
)

tracker_tasks = Table(
    "tracker_tasks",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("tracker", String(40), nullable=False),
    Column("key", String(250), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("body", JSON, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("due_at", Double, nullable=False, server_default="0"),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("outcome", String(80), nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("tracker", "key", name="tracker_tasks_key"),
    _index_where("is_open", "tracker_tasks_open", "due_at"),
    Index("tracker_tasks_created", "created_at"),
    _index_where("NOT is_open AND kind NOT IN ('version_released', 'origin')", "tracker_tasks_old", "created_at"),
)

polls = Table(
    "polls",
    metadata,
    Column("tracker", String(40), primary_key=True),
    Column("begun_at", Double, nullable=False),
    Column("polled_at", Double, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("value", LargeBinary),
    Column("expires_at", Double, nullable=False, server_default="0"),
    Column("rank", Integer, nullable=False, server_default="0"),
    Column("lease_until", Double, nullable=False, server_default="0"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", String(200), primary_key=True),
    Column("name", String(200), nullable=False, server_default=""),
    Column("address_digest", String(64), nullable=False, server_default=""),
    Index("accounts_address", "address_digest"),
)

joined_accounts = Table(
    "joined_accounts",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account", String(200), nullable=False),
    Column("person", String(40), nullable=False),
    Column("joined_at", Double, nullable=False),
    Column("parted_at", Double),
    _index_where("parted_at IS NULL", "joined_accounts_now", "account", unique=True),
    Index("joined_accounts_account", "account"),
    Index("joined_accounts_person", "person"),
)

link_codes = Table(
    "link_codes",
    metadata,
    Column("account", String(200), primary_key=True),
    Column("code", LargeBinary),
    Column("expires_at", Double, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failed_at", Double, nullable=False, server_default="0"),
)

# The oldest version of the schema whose code can work with this one; without a row, every older one can.
schema_support = Table("schema_support", metadata, Column("oldest", String(10), primary_key=True))
