"""Finds free ports on the loopback interface."""

import secrets
import socket

# Systems give higher numbers to outgoing connections, so a port in this range stays free until its next use.
PORTS = range(20000, 32000)


class NoPortError(Exception):
    """No free port was found."""


def is_free(port: int) -> bool:
    """Whether no program listens on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that no program listens on."""
    for _ in range(100):
        port = secrets.choice(PORTS)
        if is_free(port):
            return port
    raise NoPortError(f"No port from {PORTS.start} to {PORTS.stop} is free.")
