"""Origins and hosts as operators name them for the service: one that nothing can ever match is a slip, and told.

Browsers send an origin as scheme://host in small letters, with a port that is not the scheme's own, and nothing behind
it; what is fetched is looked for by host alone, or by host:port.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

OWN_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9]\d{0,4})?")
_HOST = re.compile(r"[a-z0-9._*?!\[\]-]+(:([1-9]\d{0,4}|[*?]+))?")


def problem_of_origin(origin: str) -> str | None:
    """Why no page has this origin; None if one can, or if it is *."""
    if origin == "*":
        return None
    if origin == "null":
        return "null is what any page can make itself; name the page's own origin, or * for all"
    parts = _split(origin if "://" in origin else f"https://{origin}")
    meant = parts and _origin_of(parts)
    if origin == meant:
        return None
    if meant and "*" not in origin:
        return f"{origin} is no origin as browsers send it; is {meant} meant?"
    return f"{origin} is no origin: give each as https://shop.example, with its port unless it is the scheme's own"


def problem_of_fetch_host(host: str) -> str | None:
    """Why nothing can be fetched from hosts named so; None if something can."""
    if _address(host) is not None:
        return None
    if host.startswith("[") and "]" in host and _address(host[1 : host.index("]")]) is not None:
        return f"{host}: an IPv6 address is named without brackets"
    meant = _host_of(host)
    if meant == host.lower() and host.partition(":")[2] not in map(str, OWN_PORTS.values()):
        return None
    return f"{host} is no host" + (f"; is {meant} meant?" if meant else ", as cdn.example.org or *.example.org")


def is_inner(host: str) -> bool:
    """Whether a host that is named for fetching is none of the public internet whatever DNS says of it."""
    name = host.lower() if _address(host) else host.lower().partition(":")[0].rstrip(".")
    address = _address(name)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and not address.is_global)


def _origin_of(parts: SplitResult) -> str | None:
    try:
        port = parts.port
    except ValueError:
        return None
    host = _ascii(parts.hostname or "")
    host = f"[{host}]" if ":" in host else host
    named = "" if port in (None, OWN_PORTS.get(parts.scheme)) else f":{port}"
    origin = f"{parts.scheme}://{host}{named}"
    return origin if _ORIGIN.fullmatch(origin) else None


def _host_of(host: str) -> str | None:
    """The host that may be meant, in small letters, without scheme, path, or the scheme's own port."""
    host = host.rpartition("://")[2]
    host = re.split(r"[/\\#\s]", host, maxsplit=1)[0].rpartition("@")[2].lower()
    name, _, port = host.partition(":")
    name = _ascii(name.rstrip("."))
    name = f"*{name}" if name.startswith(".") else name
    meant = name if not port or port in map(str, OWN_PORTS.values()) else f"{name}:{port}"
    return meant if name and _HOST.fullmatch(meant) else None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _split(origin: str) -> SplitResult | None:
    try:
        return urlsplit(origin)
    except ValueError:
        return None


def _ascii(name: str) -> str:
    """A name as it is asked for: of another script by its IDNA form."""
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name
