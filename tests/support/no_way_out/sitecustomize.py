"""Imported by every Python that starts with this directory on its path: its sockets do not leave the machine."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from typing import Any


def _address(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _local(host: Any) -> bool:
    address = _address(host)
    return address.is_loopback if address else host in {None, "", "localhost", socket.gethostname()}


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not _local(address[0]):
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    elif event == "socket.getaddrinfo" and not (_address(arguments[0]) or _local(arguments[0])):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


sys.addaudithook(_refuse)
