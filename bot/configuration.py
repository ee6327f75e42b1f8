"""The configuration file as plain values: YAML, with every reference replaced by what it names.

Secrets are references: `${NAME}` within a text, `{file: path}` in place of one; they are refused in the clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml

from bot.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAMES = re.compile(r"(?:.*_)?(?:token|secrets?|password|webhook_url|api_key|application_key)")
_SECRET_VARIABLES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY", re.IGNORECASE)
_SECRET_PATHS = frozenset({"key"})
_PASSWORD_IN_URL = re.compile(r"://[^/@:]*:(?!\$\{)[^@]+@")
_QUOTED = re.compile(r"'(?!<|\\t')[^']{2,}'")  # words of the file in a complaint about it: one may be a secret
MAX_FILE_BYTES = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `on` is a setting's name here, and `no` a word."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # the stubs call it an instance's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


class Read(NamedTuple):
    """What stands in a file, with what its references name: nothing for those that are `wrong`, and `secrets`."""

    values: dict[str, Any]
    secrets: tuple[str, ...]
    wrong: tuple[ConfigError, ...]


def read(path: Path, environment: Mapping[str, str]) -> Read:
    """What stands in the file; sections without content are left out.

    ConfigError, for a file that cannot be read at all, names the place of what is wrong, never a value.
    """
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise ConfigError("", f"{path} cannot be read: {problem.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError("", f"{path} is larger than 1 MiB")
    given = _parse(raw, path)
    if not isinstance(given, dict):
        raise ConfigError("", f"{path} must hold a mapping: platforms, destinations, sources, routes, roles")
    references = _References(path.resolve().parent, environment)
    resolved = references.resolve(given, "")
    values = {name: section for name, section in resolved.items() if section is not None}
    return Read(values, tuple(references.found), tuple(references.wrong))


def lines_of(path: Path) -> dict[str, int]:
    """The line of each place in the file, such as `routes[2].match`; none where it cannot be read."""
    found: dict[str, int] = {}
    try:
        node = _Loader(path.read_bytes()[:MAX_FILE_BYTES]).get_single_node()
        _note_lines(node, "", found, set())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found


def _note_lines(node: Any, path: str, found: dict[str, int], seen: set[int]) -> None:  # noqa: ANN401 - no types
    if id(node) in seen:  # an alias: looked at before
        return
    seen.add(id(node))
    parts: list[tuple[str, Any, Any]] = []
    if isinstance(node, yaml.SequenceNode):
        parts = [(join(path, [index]), item, item) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        parts = [(join(path, [str(name.value)]), name, value) for name, value in node.value]
    for here, marked, inner in parts:
        found[here] = marked.start_mark.line + 1
        _note_lines(inner, here, found, seen)


def _parse(raw: bytes, path: Path) -> Any:  # noqa: ANN401 - YAML
    """What the file holds; a name that stands twice in one mapping is refused, YAML would keep the last."""
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        _refuse_twins(node, "", set())
        return loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as problem:
        where, what = getattr(problem, "problem_mark", None), getattr(problem, "problem", None)
        place = f" (line {where.line + 1}, column {where.column + 1})" if where else ""
        said = f": {_QUOTED.sub('…', what)}" if what and where else ""
        raise ConfigError("", f"{path} is not valid YAML{place}{said}") from None
    except (ValueError, RecursionError):  # a date that does not exist, brackets without end
        raise ConfigError("", f"{path} is not valid YAML") from None


def _refuse_twins(node: Any, path: str, seen: set[int]) -> None:  # noqa: ANN401 - PyYAML's nodes have no types
    if id(node) in seen:  # an alias: looked at before
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_twins(item, join(path, [index]), seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            here, line = join(path, [str(name.value)]), name.start_mark.line + 1
            if isinstance(name, yaml.ScalarNode) and lines.setdefault(name.value, line) != line:
                raise ConfigError(here, f"is written twice (lines {lines[name.value]} and {line})")
            _refuse_twins(value, here, seen)


def join(prefix: str, location: Sequence[str | int]) -> str:
    """`routes[2].match.branch`."""
    path = prefix
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


class _References:
    """Replaces references by what they name; the secrets among it are `found`, what cannot be replaced is `wrong`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.found: list[str] = []
        self.wrong: list[ConfigError] = []

    def resolve(self, given: Any, path: str) -> Any:  # noqa: ANN401 - YAML
        """The same structure with every reference replaced by what it names."""
        match given:
            case {"file": str(name)} if len(given) == 1:
                value = self._read_secret(name, path)
                self.found.append(value)
                return value
            case dict():
                return {
                    str(key): self.resolve(value, f"{path}.{key}" if path else str(key)) for key, value in given.items()
                }
            case list():
                return [self.resolve(value, f"{path}[{index}]") for index, value in enumerate(given)]
            case str():
                return self._text(given, path)
            case _:
                return given

    def _text(self, given: str, path: str) -> str:
        is_secret = path in _SECRET_PATHS or bool(_SECRET_NAMES.fullmatch(path.rpartition(".")[2].partition("[")[0]))
        if path == "database_url" and _PASSWORD_IN_URL.search(given):
            words = "holds a password: write ${NAME} in its place, or in place of the whole address"
            self.wrong.append(ConfigError(path, words))
            return given
        if names := _REFERENCE.findall(given):
            missing = [name for name in dict.fromkeys(names) if not self._environment.get(name)]
            self.wrong += [ConfigError(path, f"the environment variable {name} is not set") for name in missing]
            values = {name: self._environment.get(name, "") for name in names}
            self.found += [values[name] for name in names if is_secret or _SECRET_VARIABLES.search(name)]
            value = _REFERENCE.sub(lambda name: values[name[1]], given)
            self.found += [value] if is_secret else []
            return value
        if is_secret and not path.startswith("roles."):
            words = "is a secret: write ${NAME} or {file: path} instead of the value"
            self.wrong.append(ConfigError(path, words))
        return given

    def _read_secret(self, name: str, setting: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as problem:
            words = problem.strerror if isinstance(problem, OSError) else "it is not text"
            start = "" if Path(name).is_absolute() else ", from the configuration's folder on,"
            self.wrong.append(ConfigError(setting, f"the file {name}{start} cannot be read: {words}"))
            return ""
