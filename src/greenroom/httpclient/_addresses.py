"""Where a request may go.

A name is resolved once for each connection and the connection goes to one of the addresses that were
checked, so a name that changes its mind between the check and the connection gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, TypeAlias

from greenroom.httpclient._errors import AddressRefusedError, HttpError

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# An IPv4 address may hide in the last bits of these (RFC 6052, RFC 4291 2.5.5.1).
_TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))


class Reach(Enum):
    """Which addresses requests may go to."""

    PUBLIC = auto()
    PUBLIC_AND_LOOPBACK = auto()
    ANYWHERE = auto()


def is_allowed(address: str, reach: Reach) -> bool:
    """Whether an IP address is within reach; what an IPv6 address embeds counts, too."""
    if reach is Reach.ANYWHERE:
        return True
    parsed = ipaddress.ip_address(address)
    if reach is Reach.PUBLIC_AND_LOOPBACK and (parsed.is_loopback or _is_mapped_loopback(parsed)):
        return True
    return all(each.is_global and not each.is_multicast for each in (parsed, *_embedded(parsed)))


async def reachable(host: str, port: int, reach: Reach) -> Sequence[tuple[socket.AddressFamily, str]]:
    """Resolve a host and return its addresses that are within reach, in the resolver's order.

    :raises HttpError: when the name cannot be resolved.
    :raises AddressRefusedError: when no address is within reach.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise HttpError(f"'{host}' has no address: {why}", context={"host": host}) from None
    addresses = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
    allowed = [(family, address) for family, address in addresses if is_allowed(address.partition("%")[0], reach)]
    if not allowed:
        raise AddressRefusedError(host)
    return allowed


def _is_mapped_loopback(address: _Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped is not None and mapped.is_loopback


def _embedded(address: _Address) -> list[_Address]:
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    hidden: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _TRANSLATED):
        hidden.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in hidden if each is not None]
