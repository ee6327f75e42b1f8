"""Accounts are known by their e-mail address."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """A person's account; `email` is in its one accepted form."""

    login: str
    email: str


def normalise_email(email: str) -> str:
    """Return `email` in lower case without blanks around it; ValueError if it has no name or no domain."""
    name, _, domain = email.strip().lower().rpartition("@")
    if not name or not domain:
        raise ValueError(f"not an e-mail address: {email!r}")
    return f"{name}@{domain}"


def register(login: str, email: str) -> Account:
    """Make the account of a new person."""
    return Account(login=login, email=normalise_email(email))
