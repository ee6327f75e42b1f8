"""Dead letters are found without looking at all cards, and an attempt keeps the platform's words on its failure."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what older processes need not know of."""
    op.add_column("attempts", sa.Column("detail", sa.String(length=200), nullable=True))
    op.create_index(
        "cards_dead",
        "cards",
        ["id"],
        unique=False,
        sqlite_where=sa.text("is_dead"),
        postgresql_where=sa.text("is_dead"),
    )
