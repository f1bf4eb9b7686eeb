"""Runs a command on a machine without a way out: in a network namespace of its own.

It has its loopback and an interface with an address, as a machine in a cupboard has: WebRTC uses no loopback alone.
Where the user may make none, Python's own sockets are kept from leaving the machine; those of native code are not.
``python -m support.no_network COMMAND ...``, run in such a namespace, makes both and becomes the command.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 1
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_TUN = Path("/dev/net/tun")
_LAN = b"lan0"
_TESTS = Path(__file__).parents[1]


@cache
def _unshare() -> tuple[str, ...]:
    """Return how this user makes a namespace; empty when it may not."""
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return ()
    for command in (("unshare", "--net"), ("unshare", "--net", "--map-root-user")):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False, timeout=10).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return ()


def command(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs ``python ARGUMENTS`` without a network, and its environment."""
    environment = {**os.environ, "PYTHONPATH": str(_TESTS)}
    if not (unshare := _unshare()):
        environment["PYTHONPATH"] += f"{os.pathsep}{_TESTS / 'support' / 'no_way_out'}"
        return [sys.executable, *arguments], environment
    return [*unshare, sys.executable, "-m", "support.no_network", sys.executable, *arguments], environment


def main(arguments: list[str]) -> None:
    """Bring the interfaces up and become the command."""
    # The interface is there as long as the command has this open; nobody reads what is sent to it.
    tunnel = os.open(_TUN, os.O_RDWR)
    os.set_inheritable(tunnel, True)
    fcntl.ioctl(tunnel, _TUNSETIFF, struct.pack("16sH", _LAN, _IFF_TUN_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for request, address in ((_SIOCSIFADDR, "10.77.0.1"), (_SIOCSIFNETMASK, "255.255.255.0")):
            place = struct.pack("16sHH4s8x", _LAN, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(any_socket, request, place)
        for interface in (b"lo", _LAN):
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", interface, _IFF_UP))
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
