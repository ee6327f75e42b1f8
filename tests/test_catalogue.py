"""Every sentence said to people is there in every language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from bot.i18n import LOCALES, _catalogue
from bot.services.presenters.causes import CAUSES
from bot.services.presenters.checks import CHECK_REASONS, NO_ANSWERS, VERDICT_WORD
from bot.services.presenters.dead_letters import SLOT_WORDS
from bot.services.presenters.deployment_buttons import BEFORE_PRESS
from bot.services.presenters.deployment_words import NOT_ROLLED_BACK, OUTCOMES, QUESTIONS, STRUCK, WORD
from bot.services.presenters.explain import DIMENSION_WORDS, EVENT_WORDS, OPERATION_WORDS
from bot.services.presenters.help import GROUPS, SUMMARIES
from bot.services.presenters.issue import TRIGGER_WORDS
from bot.services.presenters.reasons import MILESTONE_WORDS, REASON_WORDS
from bot.services.presenters.replies import GONE, NEWS, PROBLEMS, REFUSALS, WAYS_ON
from bot.services.presenters.words import BUILD_WORD
from tests.sources import parsed

ROOT = Path(__file__).parent.parent
SPEAKERS = {"translate": 1, "remark": 2, "Conflict": 0}
PLACE = re.compile(r"{\w*}")


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for folder in ("bot", "handlers", "integrations"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, parsed(path)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _literals(module: ast.Module, argument: ast.expr) -> Iterator[str]:
    """The texts an argument can be: itself, both sides of a choice, or what a variable of that name is given."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.IfExp):
        yield from _literals(module, argument.body)
        yield from _literals(module, argument.orelse)
    elif isinstance(argument, ast.Name):
        for node in ast.walk(module):
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == argument.id for t in node.targets
            ):
                yield from _sentences(node.value)


def _sentences(value: ast.expr) -> Iterator[str]:
    """Texts in an assigned value that are sentences of ours; a dictionary's keys are not."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _sentences(value.body)
        yield from _sentences(value.orelse)
    elif isinstance(value, ast.Dict):
        for item in value.values:
            yield from _sentences(item)
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get":
        yield from _sentences(value.func.value)
        for item in value.args[1:]:
            yield from _sentences(item)


def _said() -> dict[str, str]:
    """Each message that code may translate, and where."""
    found = {text: "a table" for table in (PROBLEMS, REFUSALS, SUMMARIES, GONE, BUILD_WORD) for text in table.values()}
    found |= dict.fromkeys((*(text for _, text in NEWS.values()), *GROUPS, *WAYS_ON), "a table")
    tables = (TRIGGER_WORDS, REASON_WORDS, MILESTONE_WORDS, SLOT_WORDS, EVENT_WORDS, DIMENSION_WORDS, OPERATION_WORDS)
    found |= {text: "a table" for table in tables for text in table.values()}
    tables = (WORD, OUTCOMES, NOT_ROLLED_BACK, QUESTIONS, STRUCK, VERDICT_WORD, CHECK_REASONS, NO_ANSWERS)
    found |= {text: "a table" for table in tables for text in table.values()}
    found |= {text: "a question" for words in BEFORE_PRESS.values() for text in words}
    found |= {text: "a cause" for cause in CAUSES for text in (cause.words, cause.advice)}
    for path, module in _modules():
        for node in ast.walk(module):
            position = SPEAKERS.get(_name(node)) if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Call) and position is not None and len(node.args) > position:
                if isinstance(node.func, ast.Attribute) and _name(node) == "translate":
                    continue  # str.translate
                for text in _literals(module, node.args[position]):
                    found[text] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_every_sentence_is_translated() -> None:
    """Whatever is said through `translate`, a remark or a Conflict has its words in every language."""
    said = _said()
    assert len(said) > 80
    for locale in LOCALES:
        if locale != "en":
            missing = {text: where for text, where in said.items() if text and text not in _catalogue(locale)}
            assert not missing


def test_translations_keep_their_places() -> None:
    """A translation fills in exactly what its English text fills in."""
    for locale in LOCALES:
        for english, words in _catalogue(locale).items():
            assert set(PLACE.findall(english)) == set(PLACE.findall(words)), english
