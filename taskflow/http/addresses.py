"""The addresses of clients: taken from X-Forwarded-For, and in canonical form."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ClientAddress:
    """WSGI middleware that sets REMOTE_ADDR to the client's address.

    Each trusted proxy adds an entry to X-Forwarded-For. The entry of the outermost one is the
    client, if it is an address; otherwise the client is whoever connected.
    """

    def __init__(self, app: "WSGIApplication", proxies: int) -> None:
        self._app, self._proxies = app, proxies

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        """Set REMOTE_ADDR, and pass the request on."""
        peer = environ.get("REMOTE_ADDR", "")
        environ["REMOTE_ADDR"] = self._forwarded(environ) or canonical_address(peer) or peer
        return self._app(environ, start_response)

    def _forwarded(self, environ: dict[str, Any]) -> str | None:
        entries = environ.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", self._proxies)
        if not self._proxies or len(entries) < self._proxies:
            return None
        return canonical_address(entries[-self._proxies])


@lru_cache(maxsize=1024)
def canonical_address(text: str) -> str | None:
    """Return an IP address without port and zone, or None if a text is not an address.

    An IPv4-mapped IPv6 address is returned as its IPv4 address (RFC 4291, 2.5.5.2).
    """
    text = text.strip(' \t"')
    if text.startswith("["):  # RFC 3986, 3.2.2
        text, closed, port = text[1:].partition("]")
        is_valid = closed and (not port or (port[0] == ":" and _is_port(port[1:])))
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        is_valid = _is_port(port)
    else:
        is_valid = True
    try:
        address = ip_address(text.partition("%")[0]) if is_valid else None
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address) if address else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


@lru_cache(maxsize=1024)
def network_of(address: str | None) -> str | None:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    A household or a server gets at least a /64 (RFC 6177), and may use all of its addresses.
    """
    if address is None or ":" not in address:
        return address
    return str(ip_network((address, 64), strict=False))
