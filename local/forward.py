"""Lets containers reach a server that listens on the loopback interface alone: a relay on another address."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

START_SECONDS = 10.0
CHUNK_BYTES = 64 * 1024
IP_FREEBIND = 15  # Linux's; Python has no name for it


@contextmanager
def forwarded(host: str, target_port: int) -> Iterator[int]:
    """A port on `host`, which this machine may have only later, behind which is `target_port` of 127.0.0.1."""
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
    # A container engine makes its bridge, and with it the address, when the first container starts.
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    listener.bind((host, 0))
    return await asyncio.start_server(relay, sock=listener)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one end is gone, and the other is told below
    finally:
        writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
