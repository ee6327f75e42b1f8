"""What trackers told and what is to be said there, how far they were asked, and tokens that rotate."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add tables of which older processes know nothing."""
    op.create_table(
        "tracker_tasks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tracker", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.Double(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("outcome", sa.String(length=80), server_default="", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tracker", "key", name="tracker_tasks_key"),
    )
    is_open = sa.text("is_open")
    op.create_index("tracker_tasks_open", "tracker_tasks", ["due_at"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_index("tracker_tasks_created", "tracker_tasks", ["created_at"])
    op.create_table(
        "polls",
        sa.Column("tracker", sa.String(length=40), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("polled_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tracker"),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("rank", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
