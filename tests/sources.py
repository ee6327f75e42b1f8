"""Our own source, parsed, for tests that hold rules against it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TRIES = 20


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    CPython before 3.11.8 counts the depth of a tree for all threads in one place: one that prints a traceback at the
    same moment, and for that parses the lines that it shows, makes it miscount and refuse a sound source with a
    SystemError (https://github.com/python/cpython/issues/106905). It says nothing about the source: we try again.
    """
    source = path.read_text(encoding="utf-8")
    for _ in range(TRIES):
        try:
            return ast.parse(source)
        except SystemError as miscounted:
            problem = miscounted
    raise problem
