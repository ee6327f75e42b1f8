"""The key for bearer addresses at rest: https://github.com/fernet/spec."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.fernet import Fernet, MultiFernet


def cipher_of(keys: str) -> MultiFernet:
    """The cipher of comma-separated Fernet keys, the first of which encrypts; ValueError for anything else."""
    return MultiFernet([Fernet(key.strip()) for key in keys.split(",")])


def make_key(path: Path) -> None:
    """Write a new key to `path`, readable by its owner alone, unless one is there; of two at once, one wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent) as draft:  # made with mode 0600
        draft.write(Fernet.generate_key())
        draft.flush()
        os.fsync(draft.fileno())
        with suppress(FileExistsError):
            os.link(draft.name, path)
