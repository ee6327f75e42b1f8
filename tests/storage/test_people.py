"""Accounts that are one person's, and the codes that join them, on both engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, select

from bot.storage.people import FAILURES_LAST_S, PARTED_KEPT_S
from bot.storage.tables import joined_accounts, link_codes
from tests.stores import NOW, SqlStore, make_store

SLACK, DINGTALK, FEISHU = "slack:U1", "dingtalk:m1", "feishu:f1"


def join(store: SqlStore, one: str, other: str, person: str = "p1", at: float = NOW) -> None:
    """Make two accounts one person."""
    store.write(lambda tx: tx.joining.join(one, other, person, at))


def joined(store: SqlStore, account: str) -> set[str]:
    """Who an account is joined with now."""
    return set(store.read(lambda tx: tx.accounts.joined(account)))


def same(store: SqlStore, account: str, since: float | None = None) -> set[str]:
    """Who counts as the same person."""
    return set(store.read(lambda tx: tx.accounts.same_person(account, since)))


def test_accounts_are_joined_over_platforms_and_persons(store: SqlStore) -> None:
    """Two persons become one when an account of each is joined with the other's."""
    assert joined(store, SLACK) == {SLACK}
    join(store, SLACK, DINGTALK, "p1")
    join(store, FEISHU, "teams:t1", "p2")
    assert joined(store, DINGTALK) == {SLACK, DINGTALK}
    join(store, DINGTALK, FEISHU, "p3")
    assert joined(store, SLACK) == {SLACK, DINGTALK, FEISHU, "teams:t1"}
    join(store, SLACK, FEISHU, "p4")
    assert joined(store, "slack:U2") == {"slack:U2"}


def test_a_parted_account_stays_the_same_person_for_what_began_before(store: SqlStore, database: Engine) -> None:
    """It has no part in the others' roles any more; whoever is left alone is a person of their own too."""
    join(store, SLACK, DINGTALK)
    store.write(lambda tx: tx.joining.part(DINGTALK, NOW + 10))
    store.write(lambda tx: tx.joining.part(DINGTALK, NOW + 20))
    assert joined(store, DINGTALK) == {DINGTALK}
    assert joined(store, SLACK) == {SLACK}
    assert same(store, SLACK, NOW + 5) == {SLACK, DINGTALK}
    assert same(store, SLACK, NOW + 15) == {SLACK}
    assert same(store, SLACK) == {SLACK}
    join(store, DINGTALK, FEISHU, "p2", NOW + 30)
    assert same(store, SLACK, NOW + 5) == {SLACK, DINGTALK, FEISHU}
    join(store, "slack:U8", "dingtalk:m8", "p3", NOW + 60 + PARTED_KEPT_S)
    with database.connect() as connection:
        assert len(list(connection.scalars(select(joined_accounts.c.id)))) == 4


def test_one_address_is_one_person(store: SqlStore) -> None:
    """As long as it is the address that was last heard of; none is nobody's."""

    def note(account: str, digest: str) -> None:
        store.write(lambda tx: tx.accounts.note(account, f"name of {account}", digest))

    note(SLACK, "ada")
    note(DINGTALK, "ada")
    note(FEISHU, "")
    note("teams:t1", "")
    join(store, DINGTALK, FEISHU)
    assert same(store, SLACK) == {SLACK, DINGTALK, FEISHU}
    assert same(store, "teams:t1") == {"teams:t1"}
    note(DINGTALK, "grace")
    assert same(store, SLACK) == {SLACK}
    names = store.read(lambda tx: tx.accounts.names([SLACK, "slack:U9"]))
    assert names == {SLACK: "name of slack:U1"}


def test_a_code_is_used_once_and_expires(store: SqlStore, database: Engine) -> None:
    """It is kept encrypted; a newer one takes its place, and who tries in vain is counted for a while."""
    store.write(lambda tx: tx.joining.issue(SLACK, "OLD", NOW + 600))
    store.write(lambda tx: tx.joining.issue(SLACK, "ABCD1234", NOW + 600))
    with database.connect() as connection:
        assert b"ABCD1234" not in bytes(connection.scalar(select(link_codes.c.code)) or b"")

    def redeem(code: str, at: float) -> str | None:
        return store.write(lambda tx: tx.joining.redeem(DINGTALK, code, at))

    def failures(since: float) -> int:
        return store.write(lambda tx: tx.joining.failures(DINGTALK, since))

    assert redeem("OLD", NOW) is None
    assert redeem("ABCD1234", NOW + 601) is None
    assert (failures(NOW), failures(NOW + 601)) == (2, 0)
    assert redeem("?", NOW + 602 + FAILURES_LAST_S) is None
    assert failures(NOW) == 1
    assert redeem("ABCD1234", NOW + 1) == SLACK
    assert failures(0) == 0
    assert redeem("ABCD1234", NOW + 2) is None


def test_two_who_use_one_code_at_once(store: SqlStore) -> None:
    """One of them gets it."""
    for turn in range(4):
        code = f"CODE{turn}"
        store.write(lambda tx, code=code: tx.joining.issue(SLACK, code, NOW + 600))  # type: ignore[misc]  # bound now

        def redeem(number: int, code: str = code) -> str | None:
            return store.write(lambda tx: tx.joining.redeem(f"dingtalk:m{number}", code, NOW))

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(redeem, range(4)))
        assert sorted(found, key=str) == [None, None, None, SLACK]


def test_a_code_under_another_key_is_nobodys(store: SqlStore, database: Engine) -> None:
    """When the key was replaced a new code has to be asked for; the others do not suffer."""
    store.write(lambda tx: tx.joining.issue(SLACK, "ABCD1234", NOW + 600))
    other = make_store(database)
    other.write(lambda tx: tx.joining.issue(FEISHU, "EFGH5678", NOW + 600))
    assert other.write(lambda tx: tx.joining.redeem(DINGTALK, "ABCD1234", NOW)) is None
    assert other.write(lambda tx: tx.joining.redeem(DINGTALK, "EFGH5678", NOW)) == FEISHU


def test_an_address_is_known_until_there_is_another(store: SqlStore) -> None:
    """A directory that is closed tells no address, which does not make two persons of one; another address does."""
    store.write(lambda tx: tx.accounts.note(SLACK, "Ann", "ann"))
    store.write(lambda tx: tx.accounts.note(DINGTALK, "Ann", "ann"))
    store.write(lambda tx: tx.accounts.note(DINGTALK, "", ""))
    assert same(store, SLACK) == {SLACK, DINGTALK}
    store.write(lambda tx: tx.accounts.note(DINGTALK, "", "bob"))
    assert same(store, SLACK) == {SLACK}
