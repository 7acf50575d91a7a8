"""A container engine for `sam local`: Docker's, or what the tools beside this repository start."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from local.paths import PROJECT

ENGINE = PROJECT.parent / "shared" / "tools" / "sam-local-engine"
START_SECONDS = 300
DOCKER_SECONDS = 20
IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
BRIDGE_ADDRESS = "02:00:00:00:00:01"


@contextmanager
def container_engine() -> Iterator[tuple[str, dict[str, str]]]:
    """The address by which containers reach this machine, and an environment that leads `sam local` to the engine."""
    if ENGINE.exists() and os.getuid() == 0:
        with (Path(tempfile.gettempdir()) / "muster-container-engine.lock").open("w") as lock:
            # The first start installs the engine, and two test processes may start it at once.
            fcntl.flock(lock, fcntl.LOCK_EX)
            command = [str(ENGINE), "up"]
            # The engine runs on after the tests, so its working folder must not be one that is deleted.
            started = subprocess.run(
                command, cwd="/", capture_output=True, text=True, timeout=START_SECONDS, check=False
            )
        if started.returncode != 0:
            pytest.fail(f"sam-local-engine did not start:\n{started.stderr[-2000:]}")
        environment = dict(re.findall(r"([A-Z_0-9]+)=(\S+)", started.stdout.partition("\n")[0]))
        with lasting_bridge(environment["DOCKER_HOST"]):
            yield "10.88.0.1", environment
        return
    if not docker_answers():
        pytest.skip("no container engine answers: neither Docker nor shared/tools/sam-local-engine, which needs root")
    yield "172.17.0.1", {}


@contextmanager
def lasting_bridge(engine: str) -> Iterator[None]:
    """A bridge that stays, with one address, while containers come and go.

    Debian's podman takes it away with the last container, and lets its hardware address follow its ports: containers
    that are there would find no way to this machine for a while.
    """
    client = docker.DockerClient(base_url=engine)
    keeper = client.containers.run(IMAGE, ["3600"], entrypoint="sleep", detach=True)
    try:
        subprocess.run(["ip", "link", "set", "dev", "podman0", "address", BRIDGE_ADDRESS], check=True)
        yield
    finally:
        keeper.remove(force=True)
        client.close()


def docker_answers() -> bool:
    """Whether a Docker engine answers, not only its command-line program."""
    program = shutil.which("docker")
    if program is None:
        return False
    try:
        asked = subprocess.run([program, "info"], capture_output=True, timeout=DOCKER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
