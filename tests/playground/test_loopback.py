"""Ports for servers of tests and of the demo."""

from __future__ import annotations

from playground.loopback import OWN_PORTS, free_port, is_port_free


def test_no_port_is_given_twice() -> None:
    """Whoever starts five servers asks five times before the first of them listens."""
    ports = [free_port() for _ in range(1000)]
    assert len(set(ports)) == len(ports)
    assert set(ports) <= set(OWN_PORTS)
    assert is_port_free(ports[-1])
