"""Images from the web: only from hosts that the operator named, never from an address of the operator's own network.

The name is looked up once and the address that was checked is the one connected to, so a name that changes between the
two (DNS rebinding) gains nothing. Redirects are refused; size, time and number are bounded; no proxy is used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

import httpx

from base.errors import ImageError, Overloaded
from service.telemetry.metrics import stage

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

AT_ONCE = 16  # so many images, each of `max_bytes` at most, are in memory
UNICAST = ipaddress.ip_network("2000::/3")  # what the internet has of IPv6; the rest leads into a site, or to IPv4
INNER = [  # of what Python calls global: 6to4 and Teredo, which lead to IPv4; of no host by IANA's registries
    ipaddress.ip_network(net) for net in ("2002::/16", "2001::/32", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24")
]
HEADERS = {"User-Agent": "glimpse", "Accept": "image/*", "Accept-Encoding": "identity"}


def is_web_address(image: str) -> bool:
    """Whether an image is given by its address on the web."""
    return image[:100].lstrip()[:8].lower().startswith(("http://", "https://"))


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet, and none that leads to an inner one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in UNICAST:
            return False
    if any(address in network for network in INNER):
        return False
    return address.is_global and not address.is_multicast


class Fetcher:
    """Fetches images. Make it inside the event loop that uses it.

    Args:
        hosts: names as `cdn.example.org`, `*.example.org` or `*`, matched as a shell does; for another port than the
            scheme's own with the port, as `cdn.example.org:8443`.
        max_bytes: of one image.
        seconds: for one image, from the look-up of its host to its last byte.
        queue_size: images that may wait.
    """

    def __init__(self, hosts: Sequence[str], *, max_bytes: int, seconds: float, queue_size: int) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._limit = AT_ONCE + queue_size
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._pending = 0  # under way or waiting
        # a connection kept for one host must not serve another one at the same address
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(trust_env=False, limits=limits, headers=HEADERS) if hosts else None

    @property
    def waiting(self) -> int:
        """Images whose turn has not come."""
        return max(0, self._pending - AT_ONCE)

    def check_room(self) -> None:
        """Overloaded if as many wait as may. Ask once for all the images of a request: it is taken whole or not."""
        if self._pending >= self._limit:
            raise Overloaded("more images wait to be fetched than the queue holds; try again in a second")

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[bytes]:
        """The bytes at an address; while the block holds them, they count as under way.

        Raises:
            ImageError: it may not or cannot be fetched.
        """
        self._pending += 1
        try:
            async with self._slots:
                yield await self._get(url)
        finally:
            self._pending -= 1

    async def close(self) -> None:
        """Drop all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _get(self, address: str) -> bytes:
        if self._client is None:
            raise ImageError(None, "addresses are not fetched; send the image itself as base64 or as a data URI, "
                                   "or have the operator allow its host (GLIMPSE_FETCH_HOSTS)")  # fmt: skip
        url, host = self._allowed(address.strip())
        try:
            with stage("fetch"):
                async with asyncio.timeout(self._seconds):
                    return await self._read(self._client, url, host)
        except TimeoutError:
            raise ImageError(None, f"{host} did not send the image within {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ImageError(None, f"{host} could not be read ({type(error).__name__})") from error

    def _allowed(self, address: str) -> tuple[httpx.URL, str]:
        """The address in its parts, and its host."""
        try:
            url = httpx.URL(address)
            host = url.raw_host.decode("ascii").rstrip(".").lower()
        except (httpx.InvalidURL, ValueError) as error:
            raise ImageError(None, "not a valid address") from error
        if not host or url.userinfo:
            raise ImageError(None, "an address is https://HOST/PATH, without a name or password")
        wanted = host if url.port is None else f"{host}:{url.port}"
        if not any(fnmatchcase(wanted, pattern) for pattern in self._hosts):
            raise ImageError(None, f"nothing is fetched from {wanted}; GLIMPSE_FETCH_HOSTS names the hosts allowed")
        return url, host

    async def _read(self, client: httpx.AsyncClient, url: httpx.URL, host: str) -> bytes:
        addresses = await self._resolve(host, url.port or {"http": 80, "https": 443}[url.scheme])
        for i, address in enumerate(addresses):
            # to the address itself, asking for the host: its certificate is checked against `host`
            request = client.build_request(
                "GET",
                url.copy_with(host=str(address)),
                headers={"Host": url.netloc.decode("ascii")},
                extensions={"sni_hostname": host},
                timeout=None,
            )
            try:
                response = await client.send(request, stream=True, follow_redirects=False)
            except httpx.ConnectError:
                if i + 1 == len(addresses):
                    raise
                continue
            try:
                return await self._body(response, host)
            finally:
                await response.aclose()
        raise AssertionError("a host that was found has an address")

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """All addresses of a host; refused if one of them is not to be reached."""
        try:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ImageError(None, f"{host} cannot be found") from error
        addresses = [ipaddress.ip_address(str(where[0])) for *_, where in found]
        if not addresses:
            raise ImageError(None, f"{host} cannot be found")
        if not all(map(is_public, addresses)):
            raise ImageError(None, f"{host} is not on the public internet, so it is not fetched from")
        return addresses

    async def _body(self, response: httpx.Response, host: str) -> bytes:
        if response.is_redirect:
            raise ImageError(None, f"{host} redirects, which is not followed: give the final address")
        if response.status_code != 200:
            raise ImageError(None, f"{host} answered {response.status_code}")
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > self._max_bytes:
                raise ImageError(None, f"the image at {host} has more than {self._max_bytes} bytes")
        return bytes(data)
