"""Display names, looked up in the company's directory and kept in a cache file between runs."""

import json
import os
from pathlib import Path

DIRECTORY = {"ada": "Ada Nowak", "mateo": "Mateo García", "xiaoming": "李小明"}


def cache_file() -> Path:
    """Return where the cache is: $PROFILE_CACHE, else profile-cache.json in the current folder."""
    return Path(os.environ.get("PROFILE_CACHE", "profile-cache.json"))


def display_name(login: str, cache: Path) -> str | None:
    """Return how to address `login`, None for a stranger."""
    known: dict[str, str] = json.loads(cache.read_text("utf-8")) if cache.exists() else {}
    if login not in known and login in DIRECTORY:
        # The known fault of the README: what is written here is not looked at again before answering.
        fresh = {**known, login: DIRECTORY[login]}
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(fresh, ensure_ascii=False), "utf-8")
    return known.get(login)
