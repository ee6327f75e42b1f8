"""What is old is found without looking at everything, and a schema says which older versions it still serves."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what older processes need not know of."""
    op.create_index("cards_destination", "cards", ["destination"], unique=False)
    op.create_index("jobs_subject", "jobs", ["subject_key"], unique=False)
    op.create_table(
        "schema_support",
        sa.Column("oldest", sa.String(length=10), nullable=False),
        sa.PrimaryKeyConstraint("oldest"),
    )
