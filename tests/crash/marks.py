"""What has died already, in files of a folder: a death happens once, whichever process comes to it."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fuse:
    """One death of a row of them: it may come when those before it have been, and comes once."""

    folder: Path
    number: int

    @property
    def is_burnt(self) -> bool:
        """Whether this death has been."""
        return self._file("burnt").exists()

    @property
    def is_live(self) -> bool:
        """Whether it is this one's turn."""
        before = Fuse(self.folder, self.number - 1)
        return not self.is_burnt and (self.number == 0 or before.is_burnt)

    @property
    def is_armed(self) -> bool:
        """Whether the moment has come from which on calls are counted, for those who wait for one elsewhere."""
        return self._file("armed").exists()

    def arm(self) -> None:
        """Let that moment be now."""
        self._file("armed").touch()

    @property
    def burnt_by(self) -> str:
        """Whose death it was."""
        return self._file("burnt").read_text("utf-8")

    def burn(self, role: str) -> None:
        """Note the death of a process of that role, just before it comes."""
        self._file("burnt").write_text(role, "utf-8")

    def count(self) -> int:
        """Which call this is, of all processes' together."""
        descriptor = os.open(self._file("calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, b".")
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}-{self.number}"
