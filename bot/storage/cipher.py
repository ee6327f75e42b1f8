"""The key for bearer addresses at rest: https://github.com/fernet/spec."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet


def cipher_of(keys: str) -> MultiFernet:
    """The cipher of comma-separated Fernet keys, the first of which encrypts; ValueError for anything else."""
    return MultiFernet([Fernet(key.strip()) for key in keys.split(",")])


def make_key(path: Path) -> None:
    """Write a new key to `path`, readable by its owner alone, unless one is there; of two at once, one wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
