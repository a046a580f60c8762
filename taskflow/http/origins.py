"""Origins, as browsers write them (RFC 6454)."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_OWN_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443", "ftp": "21"}
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[A-Za-z0-9._~-]+|\[[0-9a-f:.]+\])"
    r"(:(?P<port>[1-9][0-9]{0,4}))?"
)


def is_origin(text: str) -> bool:
    """Return whether a browser may send a text as Origin (RFC 6454, 6.2), `null` excepted.

    Browsers leave out a scheme's own port and write hosts of the web's schemes in lower case and
    in canonical form; the hosts of other schemes, such as an extension's id, stay as they are.
    """
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return False
    scheme, host, port = found["scheme"], found["host"], found["port"]
    if port and (int(port) > 65535 or port == _OWN_PORTS.get(scheme)):
        return False
    if scheme in _OWN_PORTS and host != host.lower():
        return False
    return _is_canonical(host)


def _is_canonical(host: str) -> bool:
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1])) == host[1:-1]
        # A browser reads a name whose last label is a number as an IPv4 address.
        is_number = re.fullmatch(r"0[xX][0-9A-Fa-f]*|[0-9]+", host.rstrip(".").rpartition(".")[2])
        return not is_number or str(IPv4Address(host)) == host
    except AddressValueError:
        return False
