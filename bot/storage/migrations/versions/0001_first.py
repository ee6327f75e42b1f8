"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("card_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("operation", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attempts_card", "attempts", ["card_id", "started_at"], unique=False)
    op.create_index("attempts_started", "attempts", ["started_at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("verb", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=400), nullable=False),
        sa.Column("outcome", sa.String(length=80), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("command_id", sa.String(length=40), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("hash", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "audit_unsealed",
        "audit",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("hash IS NULL"),
        postgresql_where=sa.text("hash IS NULL"),
    )
    op.create_table(
        "budgets",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("arrival", sa.Double(), nullable=False),
        sa.Column("paused_until", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "cards",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subject_key", sa.String(length=300), nullable=False),
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("slot", sa.String(length=40), nullable=False),
        sa.Column("wanted_revision", sa.Integer(), nullable=False),
        sa.Column("shown_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shown_digest", sa.String(length=64), server_default="", nullable=False),
        sa.Column("message_ref", sa.String(length=300), nullable=True),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("final_since", sa.Double(), server_default="0", nullable=False),
        sa.Column("shown_final", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_dead", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("due_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=True),
        sa.Column("attempt_started_at", sa.Double(), nullable=True),
        sa.Column("attempt_revision", sa.Integer(), nullable=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(length=80), server_default="", nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject_key", "destination", "slot", name="cards_slot"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "cards_dirty",
        "cards",
        ["destination", "due_at"],
        unique=False,
        sqlite_where=sa.text("wanted_revision > shown_revision AND NOT is_dead"),
        postgresql_where=sa.text("wanted_revision > shown_revision AND NOT is_dead"),
    )
    op.create_table(
        "commands",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("dedup_key", sa.String(length=200), nullable=False),
        sa.Column("effect_key", sa.String(length=400), nullable=True),
        sa.Column("account", sa.String(length=200), nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("typed", sa.Text(), nullable=False),
        sa.Column("via", sa.String(length=20), nullable=False),
        sa.Column("reply_to", sa.JSON(), nullable=False),
        sa.Column("reply_url", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("lease_until", sa.Double(), server_default="0", nullable=False),
        sa.Column("due_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("triggered_at", sa.Double(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedup_key"),
    )
    op.create_index("commands_accepted", "commands", ["accepted_at"], unique=False)
    op.create_index(
        "commands_effect",
        "commands",
        ["effect_key"],
        unique=True,
        sqlite_where=sa.text("effect_key IS NOT NULL"),
        postgresql_where=sa.text("effect_key IS NOT NULL"),
    )
    op.create_index(
        "commands_open",
        "commands",
        ["accepted_at"],
        unique=False,
        sqlite_where=sa.text("is_open"),
        postgresql_where=sa.text("is_open"),
    )
    op.create_table(
        "destinations",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("arrival", sa.Double(), server_default="0", nullable=False),
        sa.Column("free_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.Double(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pause_reason", sa.String(length=80), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("delivery_key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject_key", sa.String(length=300), nullable=False),
        sa.Column("occurred_at", sa.Double(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.String(length=40), server_default="", nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source", "delivery_key", name="events_delivery"),
    )
    op.create_index("events_received", "events", ["received_at"], unique=False)
    op.create_index("events_subject", "events", ["subject_key", "id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("key", sa.String(length=400), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject_key", sa.String(length=300), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("jobs_due", "jobs", ["due_at"], unique=False)
    op.create_table(
        "places",
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("address"),
    )
    op.create_table(
        "subjects",
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("project", sa.String(length=250), nullable=False),
        sa.Column("number", sa.String(length=100), nullable=False),
        sa.Column("branch", sa.String(length=250), server_default="", nullable=False),
        sa.Column("environment", sa.String(length=100), server_default="", nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("is_finished", sa.Boolean(), nullable=False),
        sa.Column("is_fixed", sa.Boolean(), nullable=False),
        sa.Column("ordered_at", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("folded", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(
        "subjects_line", "subjects", ["source", "project", "branch", "is_finished", "ordered_at"], unique=False
    )
    op.create_index("subjects_number", "subjects", ["project", "number"], unique=False)
    op.create_index("subjects_project", "subjects", ["project", "ordered_at"], unique=False)
    op.create_index("subjects_recent", "subjects", ["ordered_at"], unique=False)
    op.create_table(
        "subscriptions",
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("project", sa.String(length=250), nullable=False),
        sa.Column("is_mute", sa.Boolean(), nullable=False),
        sa.Column("milestones", sa.JSON(), nullable=False),
        sa.Column("locale", sa.String(length=20), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "project"),
    )
    op.create_index("subscriptions_project", "subscriptions", ["project"], unique=False)
