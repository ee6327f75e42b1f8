"""People's accounts, which of them are one person's, and the codes that join them."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from functools import cache

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from bot.storage.dialects import Insert, insert_new, upsert
from bot.storage.locks import Lock, hold
from bot.storage.tables import accounts, joined_accounts, link_codes
from bot.storage.unit import Unit

FAILURES_LAST_S = 900.0
PARTED_KEPT_S = 30 * 86_400.0  # longer than any deployment waits
_IS_JOINED = joined_accounts.c.parted_at.is_(None)


@cache
def _note(dialect: str) -> Insert:
    return upsert(dialect, accounts, ["account"], ["name", "address_digest"])


@cache
def _issue(dialect: str) -> Insert:
    return upsert(dialect, link_codes, ["account"], ["code", "expires_at"])


@cache
def _ensure(dialect: str) -> Insert:
    return insert_new(dialect, link_codes, "account")


class SqlAccounts:
    """The accounts table, and who was joined when."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def note(self, account: str, name: str, address_digest: str) -> None:
        """Remember an account's name and the digest of its e-mail address; writes only what is news.

        What nobody tells at the moment is kept: who was known by an address stays that person.
        """
        known = self._connection.execute(select(accounts).where(accounts.c.account == account)).first()
        kept, digest = (known.name, known.address_digest) if known is not None else ("", "")
        row = {"account": account, "name": name[:200] or kept, "address_digest": address_digest or digest}
        if known is None or dict(known._mapping) != row:
            self._connection.execute(_note(self._connection.dialect.name), row)

    def names(self, accounts_: Iterable[str]) -> Mapping[str, str]:
        """The names of those that are known."""
        query = select(accounts.c.account, accounts.c.name).where(accounts.c.account.in_(list(accounts_)))
        return {row.account: row.name for row in self._connection.execute(query) if row.name}

    def joined(self, account: str) -> frozenset[str]:
        """The account itself and those that are joined with it now."""
        return self._related(frozenset({account}), _IS_JOINED) | {account}

    def same_person(self, account: str, since: float | None = None) -> frozenset[str]:
        """Those, and those with the same e-mail address, and so on from each of them."""
        counts = _IS_JOINED if since is None else or_(_IS_JOINED, joined_accounts.c.parted_at > since)
        found, known = frozenset({account}), frozenset[str]()
        while found != known:
            known = found
            found = known | self._related(known, counts) | self._of_one_address(known)
        return found

    def _related(self, known: frozenset[str], counts: ColumnElement[bool]) -> frozenset[str]:
        persons = select(joined_accounts.c.person).where(joined_accounts.c.account.in_(sorted(known)), counts)
        query = select(joined_accounts.c.account).where(joined_accounts.c.person.in_(persons), counts)
        return frozenset(self._connection.scalars(query))

    def _of_one_address(self, known: frozenset[str]) -> frozenset[str]:
        is_known, has_one = accounts.c.account.in_(sorted(known)), accounts.c.address_digest != ""
        digests = select(accounts.c.address_digest).where(is_known, has_one)
        query = select(accounts.c.account).where(accounts.c.address_digest.in_(digests))
        return frozenset(self._connection.scalars(query))


class SqlJoining:
    """The codes, encrypted with `cipher`, and what they do; people link accounts so rarely that each waits for all."""

    def __init__(self, connection: Unit, cipher: MultiFernet) -> None:
        self._connection = connection
        self._cipher = cipher

    def issue(self, account: str, code: str, expires_at: float) -> None:
        """Keep an account's code, encrypted, in place of an earlier one."""
        hold(self._connection, Lock.JOINING)
        row = {"account": account, "code": self._cipher.encrypt(code.encode()), "expires_at": expires_at}
        self._connection.execute(_issue(self._connection.dialect.name), row)

    def redeem(self, account: str, code: str, now: float) -> str | None:
        """Use a code up; the account it was given to. None counts as a failure of the `account` that tried it."""
        hold(self._connection, Lock.JOINING)
        live = select(link_codes).where(link_codes.c.code.is_not(None), link_codes.c.expires_at > now)
        for row in self._connection.execute(live).all():
            if hmac.compare_digest(self._read(row.code).encode(), code.encode()):
                used = update(link_codes).where(link_codes.c.account == row.account)
                self._connection.execute(used.values(code=None, expires_at=0.0))
                tried = update(link_codes).where(link_codes.c.account == account)
                self._connection.execute(tried.values(failures=0))
                return str(row.account)
        self._count(account, now)
        return None

    def failures(self, account: str, since: float) -> int:
        """How many codes an account has tried in vain, one soon after the other, the last of them after `since`."""
        hold(self._connection, Lock.JOINING)
        query = select(link_codes.c.failures).where(link_codes.c.account == account, link_codes.c.failed_at > since)
        return int(self._connection.scalar(query) or 0)

    def join(self, one: str, other: str, person: str, at: float) -> None:
        """Make both, and all that are joined with either, one person."""
        hold(self._connection, Lock.JOINING)
        old = delete(joined_accounts).where(joined_accounts.c.parted_at < at - PARTED_KEPT_S)
        self._connection.execute(old)
        query = select(joined_accounts.c.account, joined_accounts.c.person).where(
            joined_accounts.c.account.in_([one, other]), _IS_JOINED
        )
        persons = {row.account: row.person for row in self._connection.execute(query)}
        name = min(persons.values(), default=person)
        for former in set(persons.values()) - {name}:
            moved = update(joined_accounts).where(joined_accounts.c.person == former)
            self._connection.execute(moved.values(person=name))
        for account in {one, other} - persons.keys():
            row = {"account": account, "person": name, "joined_at": at}
            self._connection.execute(insert(joined_accounts), row)

    def part(self, account: str, at: float) -> None:
        """Let an account be a person of its own again; nobody is left joined with nobody."""
        hold(self._connection, Lock.JOINING)
        person = self._connection.scalar(
            select(joined_accounts.c.person).where(joined_accounts.c.account == account, _IS_JOINED)
        )
        if person is None:
            return
        members = [joined_accounts.c.person == person, _IS_JOINED]
        left = set(self._connection.scalars(select(joined_accounts.c.account).where(*members))) - {account}
        leaving = {account} | (left if len(left) == 1 else set())
        parted = update(joined_accounts).where(joined_accounts.c.account.in_(sorted(leaving)), *members)
        self._connection.execute(parted.values(parted_at=at))

    def _count(self, account: str, now: float) -> None:
        self._connection.execute(_ensure(self._connection.dialect.name), {"account": account})
        row = self._connection.execute(select(link_codes).where(link_codes.c.account == account)).one()
        failures = row.failures + 1 if row.failed_at > now - FAILURES_LAST_S else 1
        counted = update(link_codes).where(link_codes.c.account == account)
        self._connection.execute(counted.values(failures=failures, failed_at=now))

    def _read(self, code: bytes) -> str:
        """The code; nothing that anybody can type where the key was replaced since it was stored."""
        try:
            return self._cipher.decrypt(code).decode()
        except InvalidToken:
            return "\0"
