"""
The sockets of a loop: on which of them something may still happen before the next timer.

Delivery between two sockets of one machine is done when `send` returns, so a connection with both ends in the loop is
quiet once neither end can be read. Of a connection that leads elsewhere, the other side is awaited: after something was
sent, and for as long as somebody reads. A listening socket is awaited where somebody is there who could connect.
"""

from __future__ import annotations

import asyncio
import selectors
from asyncio import selector_events
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Thread
from typing import Any, Final
from weakref import WeakSet

from pytest_modelroute.wire.virtual_threads import is_in_selector
from pytest_modelroute.wire.waiting import waits_for_time_alone

Ready = list[tuple[selectors.SelectorKey, int]]
Addresses = tuple[Any, Any]
_CONNECTION: Final[type[Any]] = getattr(selector_events, "_SelectorSocketTransport")  # noqa: B009 - private, not in the type
_DELIVERY_SECONDS: Final = 0.01


class Hold(IntEnum):
    """What keeps a loop from taking it that nothing will happen."""

    NOTHING = 0
    "Virtual time may pass."
    UNTOLD = 1
    "Something that may end without a word to the loop: look again after a while."
    TOLD = 2
    "Something whose end wakes the loop."


@dataclass(kw_only=True)
class Registered:
    """What the selector of a loop watches over, sorted; the loop's own wake-up pipe is left out."""

    operations: bool = False
    "Something is awaited by itself: loop.sock_recv, loop.sock_accept, add_reader, a pipe, a datagram socket."
    listening: bool = False
    connections: list[Any] = field(default_factory=list[Any])
    "Transports whose other end is not here."
    other_ends: dict[int, Any] = field(default_factory=dict[int, Any])
    "File descriptor -> the transport of the other end, where that is here."

    @property
    def is_empty(self) -> bool:
        """Whether nothing is registered that could hold the loop."""
        return not (self.operations or self.listening or self.connections)


class Sockets:
    """
    The sockets of the loops of one test.

    Attributes:
        version: Counts the changes to what any loop watches over.

    """

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.version = 0
        self._asked: WeakSet[Any] = WeakSet()
        self._heard: WeakSet[Any] = WeakSet()
        self._idle: list[tuple[Callable[[Any, Any], bool], Thread | None]] = []

    def add_idle(self, is_idle: Callable[[Any, Any], bool], thread: Thread | None) -> None:
        """Ask this of each connection that leads out of the loops, while a thread waits in its selector."""
        self._idle.append((is_idle, thread))

    def take(self, loop: Any) -> None:
        """What a loop has open already is not asked for anything."""
        self.version += 1
        self._heard.update(list(loop._transports.values()))  # noqa: SLF001

    def sent(self, transport: Any) -> None:
        """Something was written: the other side has not been heard since."""
        self._asked.add(transport)

    def received(self, loop: Any, registered: Registered | None, ready: Ready) -> None:
        """These can be read: what is at the other end has been delivered, and has spoken."""
        for key, events in ready:
            if events & selectors.EVENT_READ:
                transport = loop._transports.get(key.fd)  # noqa: SLF001
                if transport is not None:
                    self._heard.add(transport)
                    self._asked.discard(transport)
                if registered is not None and key.fd in registered.other_ends:
                    self._asked.discard(registered.other_ends[key.fd])

    def deliver(self, registered: Registered, inner: selectors.BaseSelector) -> Ready:
        """
        Wait a moment for what one end has sent and the other one cannot read yet.

        On Linux it can, at once; other systems deliver behind the back of the sender.
        """
        if not registered.other_ends or not self._asked:
            return []
        under_way = [end for end in registered.other_ends.values() if end in self._asked]
        if not under_way:
            return []
        self._asked.difference_update(under_way)
        return inner.select(_DELIVERY_SECONDS)

    def sort(self, loop: Any, loops: Iterable[Any], keys: Iterable[selectors.SelectorKey]) -> Registered:
        """Tell what is registered apart."""
        registered = Registered()
        here = {_ends(transport): transport for each in loops for transport in each._transports.values()}  # noqa: SLF001
        for key in keys:
            if key.fd == loop._ssock.fileno():  # noqa: SLF001
                continue
            transport = loop._transports.get(key.fd)  # noqa: SLF001
            if transport is None and _accepts(loop, key):
                registered.listening = True
            elif not isinstance(transport, _CONNECTION):
                registered.operations = True
            elif (other := here.get(_ends(transport)[::-1])) is not None and _is_inet(transport):
                registered.other_ends[key.fd] = other
            else:
                registered.connections.append(transport)
        return registered

    def hold(self, loop: Any, registered: Registered, *, timer: bool, may_connect: Callable[[], bool]) -> Hold:
        """Whether something is awaited: before the next timer, or at all."""
        if registered.operations:
            return Hold.TOLD
        if any(self._is_awaited(loop, transport, timer=timer) for transport in registered.connections):
            return Hold.UNTOLD if self._idle else Hold.TOLD
        return Hold.UNTOLD if registered.listening and may_connect() else Hold.NOTHING

    def _is_awaited(self, loop: Any, transport: Any, *, timer: bool) -> bool:
        ends = _ends(transport)
        if any((thread is None or is_in_selector(thread)) and is_idle(*ends) for is_idle, thread in self._idle):
            return False
        if not timer or transport.get_write_buffer_size() or transport in self._asked or transport not in self._heard:
            return True
        protocol = transport.get_protocol()
        protocol = getattr(protocol, "_app_protocol", protocol)  # behind TLS
        if isinstance(protocol, asyncio.StreamReaderProtocol):
            reader: Any = getattr(protocol, "_stream_reader")  # noqa: B009 - private, and not in the type
            return reader is not None and reader._waiter is not None  # noqa: SLF001
        return not waits_for_time_alone(loop)


def _ends(transport: Any) -> Addresses:
    return transport.get_extra_info("sockname"), transport.get_extra_info("peername")


def _is_inet(transport: Any) -> bool:
    # The unnamed ends of Unix sockets cannot be told apart.
    return isinstance(transport.get_extra_info("peername"), tuple)


def _accepts(loop: Any, key: selectors.SelectorKey) -> bool:
    """Whether a socket is one of `loop.create_server`, and not of `loop.sock_accept`."""
    reader, _writer = key.data
    return reader is not None and reader._callback == loop._accept_connection  # noqa: SLF001
