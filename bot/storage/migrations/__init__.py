"""Alembic's environment; `upgrade` is the only way in."""
