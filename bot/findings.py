"""What `shipmate check` finds: a line each."""

from __future__ import annotations

from dataclasses import dataclass

OK, DOUBT, WRONG, UNASKED = "ok", "??", "!!", "--"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer: a mark, the setting it is about, what was found and what to do next."""

    mark: str
    setting: str
    words: str

    def __str__(self) -> str:
        return f"{self.mark} {self.setting}: {self.words}"
