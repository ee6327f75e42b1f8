"""Shipmate as it is, but that it looks for what is old at once instead of after a quarter of an hour."""

from __future__ import annotations

from bot import bootstrap
from bot.cli import main

if __name__ == "__main__":
    bootstrap.PRUNE_S = 1.0
    main()
