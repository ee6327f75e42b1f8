"""Every error Shipmate raises on purpose.

ShipmateError
├─ ConfigError          names the setting, never its value; stops start-up
├─ InputError           bad input from outside; changes nothing
│  ├─ SignatureInvalid 401 · PayloadInvalid 400 · TooLarge 413
│  └─ CommandInvalid · NotPermitted
├─ Conflict             already done, already decided, locked
├─ LeaseLost            another worker took the work over
├─ StorageUnavailable   the database cannot commit now; the door answers 503
└─ IntegrationError     another system failed; carries reason, recoverable, retry_after_s
   ├─ Unavailable · RateLimited · OutcomeUnknown
   └─ AuthFailed · DestinationGone · Rejected
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar


class ShipmateError(Exception):
    """The root of every error raised on purpose."""


class ConfigError(ShipmateError):
    """A setting is missing or wrong; `path` is its place in the configuration, such as `routes[2].match.branch`.

    `others` are what was found beside it: whoever corrects a file learns of all at once.
    """

    def __init__(self, path: str, problem: str, others: Sequence[ConfigError] = ()) -> None:
        own = f"{path}: {problem}" if path else problem
        super().__init__("\n".join([own, *map(str, others)]))
        self.path = path
        self.problem = problem
        self.others = tuple(others)

    @classmethod
    def together(cls, found: Sequence[ConfigError]) -> ConfigError:
        """Several as one, in the order given; there is at least one."""
        return cls(found[0].path, found[0].problem, [*found[0].others, *found[1:]])

    def each(self) -> Iterator[tuple[str, str]]:
        """Place and problem of this one and of those beside it."""
        yield self.path, self.problem
        for other in self.others:
            yield from other.each()


class InputError(ShipmateError):
    """Input from outside was refused; `status` is the HTTP status a door answers with."""

    status: ClassVar[int] = 400


class SignatureInvalid(InputError):
    """The sender could not be authenticated."""

    status = 401


class PayloadInvalid(InputError):
    """The body is not what the source's documentation promises."""


class TooLarge(InputError):
    """The body is larger than a door accepts."""

    status = 413


class CommandInvalid(InputError):
    """A typed command cannot be understood; `suggestion` is the nearest one that can, if any."""

    def __init__(self, problem: str, suggestion: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.suggestion = suggestion


class NotPermitted(InputError):
    """The actor has no role that allows the command; `roles` are those that would, for members to read."""

    status = 403

    def __init__(self, reason: str, roles: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.roles = tuple(roles)


class Conflict(ShipmateError):
    """The request meets a state in which it cannot happen (again).

    `sentence` says so to a person, in English with `{names}`, so that it can be said in other languages; `values` are
    theirs.
    """

    def __init__(self, sentence: str, **values: object) -> None:
        super().__init__(sentence.format(**values) if values else sentence)
        self.sentence = sentence
        self.values = values


class LeaseLost(ShipmateError):
    """The work was taken over by another worker: nothing was changed, and nothing may be said."""


class StorageUnavailable(ShipmateError):
    """The database did not commit (full disk, lock, gone); nothing was changed."""


class IntegrationError(ShipmateError):
    """A call to another system failed.

    `reason` is one of the closed words of the integration's table (used as metric label), `retry_after_s` the pause
    the system asked for, `recoverable` whether the same call may succeed later.
    """

    recoverable: ClassVar[bool] = False

    def __init__(self, system: str, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{system}: {reason}" + (f" ({detail})" if detail else ""))
        self.system = system
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class Unavailable(IntegrationError):
    """The call certainly had no effect and may succeed later (refused connection, 5xx before work, busy)."""

    recoverable = True


class RateLimited(IntegrationError):
    """The system asked for a pause of `retry_after_s`; `scope` is "place" or "account"."""

    recoverable = True

    def __init__(self, system: str, reason: str, retry_after_s: float, *, scope: str = "place") -> None:
        super().__init__(system, reason, f"retry after {retry_after_s:g} s", retry_after_s)
        self.scope = scope


class OutcomeUnknown(IntegrationError):
    """The call was sent and no answer came: it may or may not have happened."""

    recoverable = True


class AuthFailed(IntegrationError):
    """Our credential was refused; an operator must act."""


class DestinationGone(IntegrationError):
    """The place, message or thing addressed does not exist (any more)."""


class Rejected(IntegrationError):
    """The system understood the call and refuses it; the same call will be refused again."""
