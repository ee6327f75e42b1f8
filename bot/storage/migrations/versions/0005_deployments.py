"""Deployments, and what is locked against them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add what older processes need not know of."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "deployments",
        sa.Column("number", number, nullable=False),
        sa.Column("dedup_key", sa.String(length=200), nullable=False),
        sa.Column("service", sa.String(length=250), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("snapshot", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("dedup_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "deployments_active",
        "deployments",
        ["service", "environment"],
        unique=True,
        sqlite_where=sa.text("is_active"),
        postgresql_where=sa.text("is_active"),
    )
    op.create_index("deployments_line", "deployments", ["service", "environment", "number"], unique=False)
    op.create_index("deployments_ended", "deployments", ["ended_at"], unique=False)
    op.create_index(
        "deployments_due",
        "deployments",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "locks",
        sa.Column("service", sa.String(length=250), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("account", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("service", "environment"),
    )
