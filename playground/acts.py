"""What acting as a person may go wrong with, on either platform."""

from playground.options import Json


class ActError(Exception):
    """The act cannot be done as asked; the text says why."""


def picked(given: Json, *keys: str) -> str | None:
    """The verb that an act names: the one of `keys` that is there."""
    return next((key for key in keys if given.get(key) is not None), None)


def required(given: object, key: str, inside: str) -> str:
    """A needed string inside a verb's object."""
    value = given.get(key) if isinstance(given, dict) else None
    if not isinstance(value, str | int) or value == "":
        raise ActError(f"{inside} needs {key!r}")
    return str(value)
