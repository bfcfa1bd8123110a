"""A connection, and the crowd of them: what is slow, silent or too much gives way before it keeps others out."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from flambeau.serve.limits import LINGER_SECONDS, Limits
from flambeau.serve.metrics import Metrics, gauge
from flambeau.serve.observing import ID_HEADER, note_access, request_id
from flambeau.serve.problems import Problem, overloaded

IDLE, HEAD, BODY, WHOLE = "idle", "head", "body", "whole"
"""What a connection waits for: a request, the rest of its head, the rest of its body, or (WHOLE) our answer."""


DRAIN_SECONDS = 0.5
"""That a connection has for one more request when the server stops."""


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 with a deadline for everything that a client can be slow with.

    A request's head has `header_timeout` seconds in all, its body `timeout`, a silent connection `keep_alive`, and
    what we send must be taken within `timeout`: total times, so that a byte now and then does not win any.
    """

    def __init__(self, limits: Limits, crowd: Crowd, metrics: Metrics, **options: Any):
        super().__init__(**options)
        self.limits, self.crowd, self.metrics = limits, crowd, metrics
        self.phase, self.since = IDLE, 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """Whose it is: the client's address, of IPv6 the network of 64 bits that one client commands."""
        host = self.client[0] if self.client else ""
        return str(ipaddress.ip_network((host.split("%")[0], 64), strict=False)) if ":" in host else host

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes its place in the crowd, or is refused."""
        super().connection_made(transport)
        # so that pause_writing tells of every byte that is not taken; of TLS asyncio compares by >=, and pauses at 0
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("sslcontext") else 0)
        self._enter(IDLE, self.limits.header_timeout)
        if not self.crowd.enter(self):
            self._answer(overloaded("the server has too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives its place back."""
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self.crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on, and sees what is still missing."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._follow(HEAD)

    def on_response_complete(self) -> None:
        """Goes on to the next request, which may be there in part."""
        super().on_response_complete()
        self._follow(HEAD if self.conn.trailing_data[0] else IDLE)

    def _follow(self, without_head: str) -> None:
        state = self.conn.their_state
        phase = without_head if state is h11.IDLE else BODY if state is h11.SEND_BODY else WHOLE
        if phase != self.phase:
            # the Guard answers a body that is late; what is left after that is nobody's any more
            late = self.limits.timeout + 2 * LINGER_SECONDS
            seconds = {IDLE: self.limits.keep_alive, HEAD: self.limits.header_timeout, BODY: late, WHOLE: None}
            self._enter(phase, seconds[phase])

    def _enter(self, phase: str, seconds: float | None) -> None:
        self.phase, self.since = phase, self.loop.time()
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._expire) if seconds is not None else None

    def _expire(self) -> None:
        if self.phase == HEAD:
            seconds = f"{self.limits.header_timeout:g}"
            self._answer(Problem(408, "timeout", f"the head of the request was not whole after {seconds} seconds"))
        elif self.phase == IDLE:
            self.transport.close()
        else:
            self.transport.abort()

    def give_way(self) -> None:
        """Ends at once, for another connection's sake."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """The client does not take what it is sent: it has until the deadline."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken all."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def shutdown(self) -> None:
        """Ends after the answer that is underway; where none is, a request that comes within a moment is answered yet:
        its client cannot have known."""
        if self.phase == WHOLE:
            super().shutdown()
        else:
            self.loop.call_later(DRAIN_SECONDS, self._end)

    def _end(self) -> None:
        if self.phase in (HEAD, BODY):
            self.transport.abort()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP in the form of all other errors; called while the error is handled."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        self._answer(Problem(status, "bad-request", f"this is not a request that can be read ({sys.exception()})"))

    def _answer(self, problem: Problem) -> None:
        """Answers without the application, if nothing has been said yet, and closes."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body, id = problem.body(), request_id(None)
            lines = [
                f"HTTP/1.1 {problem.status} {STATUS_PHRASES[problem.status].decode()}",
                "content-type: application/json", f"content-length: {len(body)}", "connection: close",
                f"{ID_HEADER}: {id}",
                *(f"{name.lower()}: {value}" for name, value in problem.headers.items()),
            ]  # fmt: skip
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
            self.metrics.request("", "", "", problem.status, seconds := self.loop.time() - self.since)
            self.metrics.rejection(problem.code, problem.status)
            note_access("-", "-", problem.status, seconds, client=self.address, id=id)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: the request is answered as if it had not asked; a line in the log for each would flood it."""


class Crowd:
    """The open connections, by address.

    Where there are too many, that one gives way which has waited longest for its client, of the address that has the
    most: so half-sent requests keep nobody out. One whose request is whole never gives way; where all are, the
    newcomer is refused.
    """

    def __init__(self, most: int, most_each: int):
        self.most, self.most_each = most, most_each
        self._by_address: dict[str, set[Connection]] = {}
        self._count = 0

    def enter(self, newcomer: Connection) -> bool:
        """Whether there is room, which may have been made."""
        own = self._by_address.setdefault(newcomer.address, set())
        own.add(newcomer)
        self._count += 1
        if len(own) > self.most_each:
            return self._make_room(own, newcomer)
        if self._count > self.most:
            return self._make_room(max(self._by_address.values(), key=len), newcomer)
        return True

    def __len__(self) -> int:
        return self._count

    def leave(self, connection: Connection) -> None:
        """Forgets it."""
        own = self._by_address.get(connection.address, set())
        if connection in own:
            own.remove(connection)
            self._count -= 1
            if not own:
                del self._by_address[connection.address]

    def _make_room(self, among: set[Connection], newcomer: Connection) -> bool:
        waiting = [c for c in among if c.phase != WHOLE and c is not newcomer]
        if not waiting:
            return False
        longest = min(waiting, key=lambda c: c.since)
        self.leave(longest)  # now, not when the transport has closed: the next newcomer counts too
        longest.give_way()
        return True


def connections(limits: Limits, metrics: Metrics) -> type[Connection]:
    """The connections of one server, which are a crowd of their own."""

    class Bounded(Connection):
        def __init__(self, **options: Any):
            super().__init__(limits, crowd, metrics, **options)

    crowd = Crowd(limits.max_connections, limits.max_per_address)
    metrics.readings.append(lambda: [gauge("flambeau_connections", "Open connections.", (), [((), len(crowd))])])
    return Bounded
