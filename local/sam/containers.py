"""Gives functions in containers a database on this machine, with a project and its keys."""

import asyncio
import platform
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from local.paths import MIGRATIONS
from local.postgres import start_postgres
from local.sam.sam_cli import HOST_ARCHITECTURE
from muster.projects.actions import run_action

START_SECONDS = 10.0
CHUNK_BYTES = 64 * 1024
IP_FREEBIND = 15  # a constant of Linux that Python does not name
# The address of this machine inside a container, by engine.
HOSTS = {"docker": "172.17.0.1", "podman": "10.88.0.1"}


@contextmanager
def new_project(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a database with a new project. Yield its URL and the keys of the project."""
    with start_postgres(folder / "postgres", durable=False) as postgres:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            run_action(connection, MIGRATIONS, {})
            made = run_action(connection, MIGRATIONS, {"action": "create_project", "name": "local"})
        yield postgres.url, dict(made["keys"])


@contextmanager
def parameters_for_containers(database_url: str, host: str) -> Iterator[list[str]]:
    """The parameters of the template with which containers reach the database through `host`."""
    port = psycopg.conninfo.conninfo_to_dict(database_url)["port"]
    with forwarded(host, int(str(port))) as relayed:
        address = database_url.replace(f"127.0.0.1:{port}", f"{host}:{relayed}")
        yield [f"Architecture={HOST_ARCHITECTURE}", "DatabaseMode=external", f"DatabaseUrl={address}"]


def host_of(engine: str) -> str:
    """The address of this machine inside the containers of an engine."""
    # On a Mac, Docker forwards to the loopback interface of this machine.
    return "127.0.0.1" if platform.system() == "Darwin" else HOSTS[engine]


@contextmanager
def forwarded(host: str, target_port: int) -> Iterator[int]:
    """A port on `host` that relays to `target_port` of 127.0.0.1. `host` may not exist yet."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(_serve(host, target_port), loop).result(START_SECONDS)
        yield int(server.sockets[0].getsockname()[1])
        asyncio.run_coroutine_threadsafe(_close(server), loop).result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


async def _serve(host: str, target_port: int) -> asyncio.Server:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target_port)
        await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))

    listener = socket.socket()
    # The engine creates its bridge, and so the address, when the first container starts.
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    listener.bind((host, 0))
    return await asyncio.start_server(relay, sock=listener)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one end has closed; close the other below
    finally:
        writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
