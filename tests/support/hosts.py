"""Hosts for tests: network namespaces on one bridge, each with an address of its own, and ways from them to servers on our loopback.

Used by tests/acceptance/test_many_hosts.py. Where namespaces cannot be made the test is skipped by name.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Host:
    """One namespace."""

    name: str
    address: str
    link: str

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a command there."""
        return ("ip", "netns", "exec", self.name)

    def unplug(self) -> None:
        """Take its cable out: nothing that it sends arrives, and nothing says so."""
        _ip("link", "set", self.link, "down")

    def plug_in(self) -> None:
        """Put it back."""
        _ip("link", "set", self.link, "up")


@dataclass(frozen=True)
class Network:
    """Hosts, and the address of this machine that they see."""

    ours: str
    hosts: tuple[Host, ...]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """So many hosts, removed afterwards."""
    mark = f"{os.getpid() % 0xFFFFF:05x}"
    bridge, third = f"nsb{mark}", os.getpid() % 250
    hosts = tuple(Host(f"nsh{mark}{i}", f"10.213.{third}.{i + 2}", f"nsv{mark}{i}") for i in range(count))
    try:
        if os.geteuid() != 0 or not _made(bridge, f"10.213.{third}.1", hosts):
            pytest.skip("network namespaces cannot be made on this machine")
        yield Network(f"10.213.{third}.1", hosts)
    finally:
        for host in hosts:
            _ip("netns", "del", host.name)
        _ip("link", "del", bridge)


def _made(bridge: str, address: str, hosts: tuple[Host, ...]) -> bool:
    steps = [("link", "add", bridge, "type", "bridge"), ("addr", "add", f"{address}/24", "dev", bridge), ("link", "set", bridge, "up")]
    for host in hosts:
        inside = ("-n", host.name)
        steps += [("netns", "add", host.name), ("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.name),
                  ("link", "set", host.link, "master", bridge), ("link", "set", host.link, "up"),
                  (*inside, "addr", "add", f"{host.address}/24", "dev", "eth0"), (*inside, "link", "set", "eth0", "up"),
                  (*inside, "link", "set", "lo", "up")]
    return all(_ip(*step) for step in steps)


def _ip(*arguments: str) -> bool:
    try:
        return subprocess.run(["ip", *arguments], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
