"""A TCP link between functions and the database that can be slow, cut in mid-reply, half closed, or lose an answer."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

Fault = Literal["cut_reply", "half_close", "silence", "lose_answer"]
CHUNK_BYTES = 65536
STOP_SECONDS = 10.0
# What is in the row that muster.ingest_full_path answers, and in no other.
ANSWER = b'"accepted"'


@dataclass
class Link:
    """`with Link(port) as link: link.port` relays to a port of this machine; its faults may be set from any thread."""

    target: int
    delay_seconds: float = 0.0
    fault: Fault | None = None
    lost_answers: int = 0
    when_answer_is_lost: Callable[[], None] | None = None
    port: int = 0
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
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()

    def cut_all(self) -> None:
        """End every connection, as a network does: without a word."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
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
        try:
            await asyncio.gather(self._pass_on(reader, server_writer), self._answer(server_reader, writer))
        finally:
            for each in (writer, server_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # an end is gone, and the other is told below
        finally:
            sink.transport.abort()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                fault, self.fault = self.fault, None if self.fault in ("cut_reply", "lose_answer") else self.fault
                if fault == "lose_answer" and ANSWER not in data:
                    self.fault = fault  # it waits for the answer of a commit
                elif fault == "lose_answer":
                    self.lost_answers += 1
                    if self.when_answer_is_lost:
                        self.when_answer_is_lost()
                    return
                elif fault == "cut_reply":
                    sink.write(data[: len(data) // 2])
                    await sink.drain()
                    return
                elif fault == "half_close":
                    sink.write_eof()
                    await source.read(CHUNK_BYTES)
                    return
                elif fault == "silence":
                    continue
                sink.write(data)
                await sink.drain()
        except (ConnectionError, OSError):
            pass  # as above
        finally:
            sink.transport.abort()
