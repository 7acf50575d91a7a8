"""Finds ports of the loopback interface that are free."""

import secrets
import socket

# Below the numbers that systems give to outgoing connections, so that a kept one stays free.
PORTS = range(20000, 32000)


class NoPortError(Exception):
    """Every port that was tried is taken."""


def is_free(port: int) -> bool:
    """Whether no program listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """One that no program listens on."""
    for _ in range(100):
        port = secrets.choice(PORTS)
        if is_free(port):
            return port
    raise NoPortError(f"No port from {PORTS.start} to {PORTS.stop} is free.")
