"""What is spent of an account's budget within its window, and who waits for it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what a version that knows one number a budget does not look at."""
    op.add_column("budgets", sa.Column("calls", sa.Integer(), server_default="0", nullable=False))
    op.add_column("budgets", sa.Column("per_s", sa.Double(), server_default="0", nullable=False))
    op.add_column("budgets", sa.Column("spent", sa.JSON(), nullable=True))
    op.create_table(
        "budget_waits",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("is_urgent", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "destination"),
    )
