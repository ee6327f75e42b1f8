"""What is known of people's accounts, which of them are one person's, and the codes that join them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add tables of which older processes know nothing."""
    op.create_table(
        "accounts",
        sa.Column("account", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), server_default="", nullable=False),
        sa.Column("address_digest", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_index("accounts_address", "accounts", ["address_digest"])
    op.create_table(
        "joined_accounts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.String(length=200), nullable=False),
        sa.Column("person", sa.String(length=40), nullable=False),
        sa.Column("joined_at", sa.Double(), nullable=False),
        sa.Column("parted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    is_joined = sa.text("parted_at IS NULL")
    op.create_index(
        "joined_accounts_now",
        "joined_accounts",
        ["account"],
        unique=True,
        sqlite_where=is_joined,
        postgresql_where=is_joined,
    )
    op.create_index("joined_accounts_account", "joined_accounts", ["account"])
    op.create_index("joined_accounts_person", "joined_accounts", ["person"])
    op.create_table(
        "link_codes",
        sa.Column("account", sa.String(length=200), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_at", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
