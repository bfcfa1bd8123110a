"""Inputs that a request names by URL: fetched from hosts that the operator has named, and from public addresses alone.

A name is resolved once, each of its addresses must be public, and the connection goes to one that was looked at: so a
name that resolves to another address a moment later (DNS rebinding) leads nowhere else. Redirects are not followed, and
proxies of the environment not asked. What is fetched for a request is bounded as a body is, and in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import h11

from flambeau.core.errors import UsageError
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem, body_too_large
from flambeau.serve.protocol import LONGEST_NAME, Failed, Raw

PORTS = {"https": 443, "http": 80}
HOST = re.compile(r"(?P<name>[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
URL = re.compile(r"[\x21-\x7e]{1,2048}")
LONGEST_HEAD = 16 * 2**10
CHUNK = 2**16
AT_ONCE = 16
"""Fetches at one time; looking a name up takes a thread."""
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
CARRIERS = tuple(map(ipaddress.ip_network, ("2001::/32", "2002::/16")))
"""IPv6 addresses that an IPv4 address, perhaps a private one, is inside of: Teredo (RFC 4380), 6to4 (RFC 3056)."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolving = Callable[[str, int], Awaitable[list[str]]]


class Place(NamedTuple):
    """Where a URL leads."""

    scheme: str
    host: str
    port: int
    target: str
    name: str | None


def is_public(address: Address) -> bool:
    """Whether an address is anybody's to ask: not private, loopback, link-local, shared, multicast, reserved or such
    that carries another; see the registries of RFC 6890.

    >>> [is_public(ipaddress.ip_address(one)) for one in ("93.184.215.14", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False]
    """
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    return address in GLOBAL_UNICAST and not any(address in carrier for carrier in CARRIERS)


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Fetching:
    """Fetches inputs.

    Args:
        hosts: names, with a port where it is not that of https or http: `pictures.example`, `store.example:8443`.
        resolve: the addresses of a name and port.
        permitted: whether an address may be asked.

    Raises:
        UsageError: one of the hosts is none.
    """

    def __init__(
        self, hosts: Sequence[str], limits: Limits, resolve: Resolving = resolved,
        permitted: Callable[[Address], bool] = is_public,
    ):  # fmt: skip
        self.limits, self._resolve, self._permitted = limits, resolve, permitted
        self._hosts: set[tuple[str, int]] = set()
        for host in hosts:
            found = HOST.fullmatch(host.strip().lower())
            if found is None or not 0 < int(found["port"] or 443) < 65536:
                raise UsageError(f"'{host}' is no host that inputs may be fetched from",
                                 expected="a name such as pictures.example, or with its port store.example:8443"
                                 )  # fmt: skip
            ports = [int(found["port"])] if found["port"] else PORTS.values()
            self._hosts |= {(found["name"].strip("[]"), port) for port in ports}
        # each holds at most a body's bytes until it is answered, all together what all bodies may
        self._room = asyncio.Semaphore(max(1, limits.max_memory // limits.max_body))
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tls = ssl.create_default_context()

    @contextlib.asynccontextmanager
    async def inputs(self, urls: Sequence[str]) -> AsyncIterator[list[Raw | Failed]]:
        """What lies at some URLs, in order, held while the block runs; of several one that cannot be had is Failed.

        Raises:
            Problem: there is one only, and it cannot be had.
        """
        async with self._room:
            budget = [self.limits.max_body]
            results = await asyncio.gather(*(self._one(url, budget) for url in urls), return_exceptions=True)
            entries: list[Raw | Failed] = []
            for url, result in zip(urls, results, strict=True):
                if isinstance(result, Problem) and len(urls) > 1:
                    entries.append(Failed(file=_bare(url), error=result.message, code=result.code))
                elif isinstance(result, BaseException):
                    raise result
                else:
                    entries.append(result)
            yield entries

    async def _one(self, url: str, budget: list[int]) -> Raw:
        place = self._place(url)
        seconds = self.limits.fetch_timeout
        try:
            async with self._turns, asyncio.timeout(seconds):
                return Raw(place.name, await self._fetch(place, budget))
        except TimeoutError:
            raise _not_fetched(place, f"it took longer than {seconds:g} seconds") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise _not_fetched(place, str(getattr(error, "strerror", None) or error)) from None

    def _place(self, url: str) -> Place:
        """Where a URL leads.

        Raises:
            Problem: it is none, or leads where nothing is fetched from.
        """
        try:
            parts = urlsplit(url) if URL.fullmatch(url) else None
            host, port = (parts.hostname, parts.port) if parts else (None, None)
        except ValueError:
            parts = host = port = None
        if parts is None or host is None or parts.scheme not in PORTS or "@" in parts.netloc:
            raise Problem(422, "bad-url", f"{_bare(url)!r} is no URL that is fetched; expected https://HOST/PATH")
        port = PORTS[parts.scheme] if port is None else port
        if (host, port) not in self._hosts:
            raise Problem(403, "not-allowed", f"nothing is fetched from '{host}' port {port}")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Place(parts.scheme, host, port, target, PurePosixPath(unquote(parts.path)).name[:LONGEST_NAME] or None)

    async def _fetch(self, place: Place, budget: list[int]) -> bytes:
        try:
            found = [ipaddress.ip_address(one) for one in await self._resolve(place.host, place.port)]
        except (socket.gaierror, UnicodeError):
            raise _not_fetched(place, "there is no such host") from None
        except ValueError:  # an address of one network interface, such as fe80::1%eth0
            found = []
        if not found or not all(map(self._permitted, found)):
            raise Problem(403, "not-allowed", f"nothing is fetched from '{place.host}': its address is not public")
        tls, name = (self._tls, place.host) if place.scheme == "https" else (None, None)
        reader, writer = await asyncio.open_connection(str(found[0]), place.port, ssl=tls, server_hostname=name)
        try:
            return await self._read(place, reader, writer, budget)
        finally:
            writer.transport.abort()

    async def _read(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: list[int]
    ) -> bytes:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        name = f"[{place.host}]" if ":" in place.host else place.host
        host = name if place.port == PORTS[place.scheme] else f"{name}:{place.port}"
        headers = [("Host", host), ("User-Agent", "flambeau"), ("Accept-Encoding", "identity"), ("Connection", "close")]
        writer.write(connection.send(h11.Request(method="GET", target=place.target, headers=headers)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        content = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(CHUNK))
            elif isinstance(event, h11.Response):
                _check(place, event)
            elif isinstance(event, h11.Data):
                budget[0] -= len(event.data)
                if budget[0] < 0:
                    raise body_too_large(self.limits.max_body)
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                return bytes(content)
            elif isinstance(event, h11.ConnectionClosed):
                raise _not_fetched(place, "the connection ended early")


def _check(place: Place, answer: h11.Response) -> None:
    """Raises a Problem where an answer is not the file itself."""
    if 300 <= answer.status_code < 400:
        raise _not_fetched(place, "it leads elsewhere, and redirects are not followed")
    if answer.status_code != 200:
        raise _not_fetched(place, f"the host answers {answer.status_code}")
    if dict(answer.headers).get(b"content-encoding", b"identity") != b"identity":
        raise _not_fetched(place, "it came compressed, which was not asked for")


def _bare(url: str) -> str:
    """A URL without its query, which may hold what lets people in."""
    return url.partition("?")[0][:LONGEST_NAME]


def _not_fetched(place: Place, why: str) -> Problem:
    return Problem(422, "not-fetched", f"'{place.name or place.host}' cannot be fetched: {why}")
