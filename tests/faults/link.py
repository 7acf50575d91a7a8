"""A TCP link between functions and the database that is slow, breaks connections, or loses an answer."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from tests.faults.lost_answers import INGEST_PATHS, IngestPath, LostAnswer, lose, read_answer

BrokenResponse = Literal["cut_reply", "half_close"]
CHUNK_BYTES = 65536
STOP_SECONDS = 10.0
# The fields SQLSTATE and message of an ErrorResponse.
_SQLSTATE = re.compile(rb"\0C([0-9A-Z]{5})\0M")


@dataclass
class Link:
    """`with Link(port) as link: link.port` relays to a port of this machine. Any thread may set its faults."""

    target: int
    delay_seconds: float = 0.0
    """The delay of every packet."""
    broken_response: BrokenResponse | None = None
    """How the next response breaks. None again once it is broken."""
    lost_answers: list[LostAnswer] = field(default_factory=list)
    sqlstates: Counter[str] = field(default_factory=Counter)
    """The SQLSTATEs that the server answered."""
    port: int = 0
    _paths_to_lose: set[IngestPath] = field(default_factory=set)
    _may_lose: Callable[[int], bool] = lambda _: True
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def __enter__(self) -> "Link":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        serving = asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(STOP_SECONDS)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._writers) // 2

    def cut_all(self) -> None:
        """Abort every connection, as a failing network does."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def lose_answers(self, may_lose: Callable[[int], bool] = lambda _: True) -> None:
        """Lose one answer of each path of ingest after its commit.

        `may_lose` gets the function's port of the connection just before the answer is lost, and may refuse.
        """
        self._may_lose = may_lose
        self._paths_to_lose = set(INGEST_PATHS)

    @property
    def paths_to_lose(self) -> set[IngestPath]:
        """The paths of ingest that have not yet lost an answer."""
        return set(self._paths_to_lose)

    def repair(self) -> None:
        """End all faults."""
        self.delay_seconds, self.broken_response, self._paths_to_lose = 0.0, None, set()

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _stop(self) -> None:
        self._server.close()
        self._abort_all()
        relays = asyncio.all_tasks() - {asyncio.current_task()}
        for task in relays:
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        statement = bytearray()
        try:
            await asyncio.gather(
                self._relay_statements(reader, server_writer, statement),
                self._relay_responses(server_reader, writer, statement),
            )
        finally:
            for each in (writer, server_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _relay_statements(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, statement: bytearray
    ) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                statement += data
                await self._send(sink, data)
        except ConnectionError:
            pass  # one end is closed; the other is closed below
        finally:
            sink.transport.abort()

    async def _relay_responses(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, statement: bytearray
    ) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                self.sqlstates.update(found.decode() for found in _SQLSTATE.findall(data))
                if self._loses(data, sink, statement):
                    return
                statement.clear()
                broken, self.broken_response = self.broken_response, None
                if broken == "cut_reply":
                    await self._send(sink, data[: len(data) // 2])
                    return
                if broken == "half_close":
                    sink.write_eof()
                    await source.read(CHUNK_BYTES)
                    return
                await self._send(sink, data)
        except OSError:
            pass  # as above
        finally:
            sink.transport.abort()

    async def _send(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        sink.write(data)
        await sink.drain()

    def _loses(self, data: bytes, sink: asyncio.StreamWriter, statement: bytearray) -> bool:
        answer = read_answer(data) if self._paths_to_lose else None
        if answer is None or answer.path not in self._paths_to_lose:
            return False
        if not self._may_lose(sink.get_extra_info("peername")[1]):
            return False
        self.lost_answers.append(lose(answer, bytes(statement)))
        self._paths_to_lose.discard(answer.path)
        return True
