"""The configuration file as plain values: YAML, with every reference replaced by what it names.

Secrets are references: `${NAME}` within a text, `{file: path}` in place of one; they are refused in the clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from bot.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAMES = re.compile(r"(?:.*_)?(?:token|secrets?|password|webhook_url|api_key|application_key)")
_SECRET_VARIABLES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY", re.IGNORECASE)
_SECRET_PATHS = frozenset({"key"})
_PASSWORD_IN_URL = re.compile(r"://[^/@:]*:(?!\$\{)[^@]+@")
MAX_FILE_BYTES = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `on` is a setting's name here, and `no` a word."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # the stubs call it an instance's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def read(path: Path, environment: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What stands in the file, and the secrets it names; sections without content are left out.

    ConfigError names the place of what is wrong, never a value.
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
    found: list[str] = []
    resolved = _resolve(given, "", path.resolve().parent, environment, found)
    return {name: section for name, section in resolved.items() if section is not None}, tuple(found)


def _parse(raw: bytes, path: Path) -> Any:  # noqa: ANN401 - YAML
    """What the file holds; a name that stands twice in one mapping is refused, YAML would keep the last."""
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        _refuse_twins(node, "", set())
        return loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as problem:
        where = getattr(problem, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise ConfigError("", f"{path} is not valid YAML{line}") from None
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


def _resolve(given: Any, path: str, folder: Path, environment: Mapping[str, str], found: list[str]) -> Any:  # noqa: ANN401 - YAML
    """The same structure with every reference replaced by what it names."""
    is_secret = path in _SECRET_PATHS or bool(_SECRET_NAMES.fullmatch(path.rpartition(".")[2].partition("[")[0]))
    match given:
        case {"file": str(name)} if len(given) == 1:
            value = _read_secret(folder / name, path)
            found.append(value)
            return value
        case dict():
            return {
                str(key): _resolve(value, f"{path}.{key}" if path else str(key), folder, environment, found)
                for key, value in given.items()
            }
        case list():
            return [
                _resolve(value, f"{path}[{index}]", folder, environment, found) for index, value in enumerate(given)
            ]
        case str() if path == "database_url" and _PASSWORD_IN_URL.search(given):
            raise ConfigError(path, "holds a password: write ${NAME} in its place, or in place of the whole address")
        case str() if _REFERENCE.search(given):
            names = _REFERENCE.findall(given)
            found += [environment.get(name, "") for name in names if is_secret or _SECRET_VARIABLES.search(name)]
            value = _REFERENCE.sub(lambda name: _from_environment(name[1], path, environment), given)
            found += [value] if is_secret else []
            return value
        case str() if is_secret and not path.startswith("roles."):
            raise ConfigError(path, "is a secret: write ${NAME} or {file: path} instead of the value")
        case _:
            return given


def _from_environment(name: str, path: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name):
        raise ConfigError(path, f"the environment variable {name} is not set")
    return environment[name]


def _read_secret(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        words = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise ConfigError(setting, f"the file {path.name} cannot be read: {words}") from None
