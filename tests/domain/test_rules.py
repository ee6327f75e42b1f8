"""Budgets, permissions, pauses, names and the audit chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.audit import AuditEntry, seal
from bot.domain.budgets import Budget
from bot.domain.commands import Actor
from bot.domain.identity import Role, decide
from bot.domain.places import Place
from bot.domain.retries import LONGEST_PAUSE_S, pause_s
from bot.domain.subjects import SubjectKey, SubjectKind


def test_a_lifted_budget_never_waits() -> None:
    """An interval of 0 lets every call go at once."""
    budget = Budget("scope", 0.0)
    assert budget.ready_at(budget.after(0.0, 50.0)) == 50.0


def test_pauses_double_up_to_five_minutes() -> None:
    """1, 2, 4 … seconds, never more than five minutes, however many tries there were."""
    assert [pause_s(n) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert pause_s(10_000) == LONGEST_PAUSE_S


ROLES = (
    Role("devs", frozenset({"slack:U1", "alice@example.com"}), frozenset({"retry"}), projects=("user-*",)),
    Role("leads", frozenset({"dingtalk:manager4220"}), frozenset({"*"})),
)


@pytest.mark.parametrize(
    ("actor", "permission", "project", "reason"),
    [
        (Actor("slack:U1", "a"), "retry", "user-service", "role:devs"),
        (Actor("slack:U9", "a", email="Alice@Example.com"), "retry", "user-service", "role:devs"),
        (Actor("slack:U1", "a"), "retry", "billing", "not_granted"),
        (Actor("slack:U1", "a"), "cancel", "user-service", "not_granted"),
        (Actor("dingtalk:U1", "a"), "retry", "user-service", "no_role"),
        (Actor("dingtalk:manager4220", "a"), "cancel", "anything", "role:leads"),
        (Actor("dingtalk:manager4220", "a", is_outsider=True), "cancel", "anything", "outsider"),
        (Actor("slack:U7", "a"), "", "", "open"),
        (Actor("slack:U7", "a", is_outsider=True), "", "", "outsider"),
    ],
)
def test_who_may_do_what(actor: Actor, permission: str, project: str, reason: str) -> None:
    """Accounts and addresses hold roles, platforms are told apart, outsiders hold nothing."""
    decision = decide(actor, ROLES, permission, project)
    assert decision.reason == reason
    assert decision.is_allowed == reason.startswith(("role:", "open"))


@pytest.mark.parametrize(
    ("projects", "granted"),
    [(("*", "!payments"), False), (("!payments",), False), (("pay*", "!pay-*"), True), (("payments",), True)],
)
def test_a_role_keeps_out_what_it_excludes(projects: tuple[str, ...], granted: bool) -> None:
    """`!glob` in a role takes away, as it does in a route, and grants nothing of its own."""
    role = Role("devs", frozenset({"slack:U1"}), frozenset({"retry"}), projects)
    assert decide(Actor("slack:U1", "a"), [role], "retry", "payments").is_allowed == granted
    assert not decide(Actor("slack:U1", "a"), [replace(role, projects=("!payments", "x"))], "retry", "y").is_allowed


@given(st.sampled_from(("actor", "verb", "target", "outcome", "detail", "command_id")), st.text(min_size=1))
def test_a_changed_entry_has_another_seal(name: str, other: str) -> None:
    """Every field, the number and the hash before it are bound by the seal."""
    entry = AuditEntry(1.0, "slack:U1", "retry", "build:ci/a#1", "done", "press", "01")
    link = seal(entry, 1, "")
    changed = replace(entry, **{name: other})
    assert (seal(changed, 1, "") == link) == (changed == entry)
    assert len({link, seal(entry, 2, ""), seal(entry, 1, link), seal(replace(entry, at=2.0), 1, "")}) == 4


def test_keys_of_subjects_and_places() -> None:
    """A key's text reads as the same key; a place's key holds platform, account and id."""
    key = SubjectKey(SubjectKind.BUILD, "gitlab", "group/app", "12")
    assert SubjectKey.parse(str(key)) == key
    place = Place("slack:T024/C0G9QF9GZ", "#ci")
    assert (place.platform, place.account, place.id) == ("slack", "T024", "C0G9QF9GZ")


@pytest.mark.parametrize(
    "text", ["", "user-service#1", "build:ci#1", "nothing:ci/a#1", "build:ci/a#", "build:ci/a#1 2"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    """A malformed key raises ValueError instead of naming something else."""
    with pytest.raises(ValueError):
        SubjectKey.parse(text)
