"""Forward TCP connections between the parts of a campaign, and cut them on order.

A link has a name, and each of its connections the address that it came from. `name@address` may be cut: in silence, as
packets are dropped (what was under way arrives when the cut is mended), or with resets.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 65_536


class _Pair:
    """The two ends of one forwarded connection."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.writers: list[asyncio.StreamWriter] = []

    def end(self, *, reset: bool) -> None:
        for writer in self.writers:
            if reset:  # a linger of 0 lets it send an RST
                with suppress(OSError):
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


class Links:
    """A proxy for all connections of a campaign. Its methods may be called in any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._pairs: set[_Pair] = set()
        self._silent: dict[str, asyncio.Event] = {}  # by key: set once the cut is mended
        self._refused: set[str] = set()  # keys

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: str, port: int) -> int:
        """Listen on a new port of loopback, and forward to `port`. Return the new port."""

        async def listen() -> int:
            server = await asyncio.start_server(self._served(name, port), "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def cut(self, key: str, *, silently: bool) -> None:
        """Cut the connections of `key`, and those to come, until `mend`."""

        async def cut() -> None:
            if silently:
                self._silent.setdefault(key, asyncio.Event())
                return
            self._refused.add(key)
            for pair in [each for each in self._pairs if each.key == key]:
                pair.end(reset=True)

        self._do(cut)

    def mend(self, key: str) -> None:
        """End the cut of `key`."""

        async def mend() -> None:
            self._refused.discard(key)
            if (silence := self._silent.pop(key, None)) is not None:
                silence.set()

        self._do(mend)

    def _do(self, act: Callable[[], Awaitable[None]]) -> None:
        async def acted() -> None:
            await act()

        asyncio.run_coroutine_threadsafe(acted(), self._loop).result(timeout=20)

    def _served(self, name: str, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pair = _Pair(f"{name}@{writer.get_extra_info('peername')[0]}")
            pair.writers.append(writer)
            self._pairs.add(pair)
            try:
                await self._heard(pair)
                if pair.key in self._refused:
                    pair.end(reset=True)
                    return
                there, back = await asyncio.open_connection("127.0.0.1", port)
                pair.writers.append(back)
                await asyncio.gather(self._pump(pair, reader, back), self._pump(pair, there, writer))
            except OSError:
                pass
            finally:
                pair.end(reset=False)
                self._pairs.discard(pair)

        return serve

    async def _pump(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one direction to its end, except while the pair is silent."""
        while chunk := await reader.read(CHUNK):
            await self._heard(pair)
            writer.write(chunk)
            await writer.drain()
        await self._heard(pair)
        with suppress(OSError):
            writer.write_eof()

    async def _heard(self, pair: _Pair) -> None:
        while (silence := self._silent.get(pair.key)) is not None:
            await silence.wait()

    async def _close(self) -> None:
        for silence in self._silent.values():
            silence.set()
        self._silent.clear()
        for server in self._servers:
            server.close()
        for pair in self._pairs.copy():
            pair.end(reset=True)
        if serving := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(serving, timeout=5)
        await asyncio.sleep(0)  # the transports close their sockets


__all__ = ["Links"]
