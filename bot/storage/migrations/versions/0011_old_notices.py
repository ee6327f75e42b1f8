"""Notices to the admin are found by their age, without looking at other cards."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add an index of which older processes need not know."""
    is_notice = sa.text("slot = 'admin'")
    op.create_index("cards_notices", "cards", ["opened_at"], sqlite_where=is_notice, postgresql_where=is_notice)
