"""A command's faults are counted apart from the workers that died over it; silent builds are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add what older processes need not know of."""
    op.add_column("commands", sa.Column("faults", sa.Integer(), server_default="0", nullable=False))
    is_open = sa.text("NOT is_finished")
    op.create_index("subjects_open", "subjects", ["updated_at"], sqlite_where=is_open, postgresql_where=is_open)
