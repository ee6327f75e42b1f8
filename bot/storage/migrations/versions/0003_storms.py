"""Cards that are folded into a digest, and what is remembered of a destination to notice that it storms."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what a version without digests does not look at."""
    op.add_column("cards", sa.Column("folded_into", sa.String(length=300), nullable=True))
    is_folded = sa.text("folded_into IS NOT NULL")
    op.create_index("cards_folded", "cards", ["folded_into"], sqlite_where=is_folded, postgresql_where=is_folded)
    op.create_table(
        "storms",
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("recent", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=300), server_default="", nullable=False),
        sa.Column("size", sa.Integer(), server_default="0", nullable=False),
        sa.Column("begun_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("quiet_at", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("destination"),
    )
