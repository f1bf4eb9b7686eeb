"""Whether packets of audio come through, and why not."""

from __future__ import annotations

import asyncio
from typing import Final

from greenroom.cli.doctor._participant import Participant
from greenroom.cli.doctor._report import FaultError

#: ICE tries every 50 ms to 250 ms; who has no answer by then gets none.
_CONNECT: Final = 5.0
_NAMING: Final = 1.0
_DETOUR: Final = 3.0
_PACKETS: Final = 50
_LISTEN: Final = 10.0


async def check_path(participants: list[Participant], host: str) -> str:
    """Wait until everybody is connected by UDP.

    :param host: the IP address at which the signalling was reached.
    :raises FaultError: which tells a wrong address from a closed port.
    """
    named = participants[0].candidates
    # Servers may name more than one address, one after the other.
    await asyncio.gather(*(_connected(one, _NAMING) for one in participants))
    if named and all((":" in address) != (":" in host) for address, _ in named):
        raise FaultError(
            "family",
            f"The server answers at {host}, but its UDP port is at {_list(named)}, of the other IP version",
            fix="Use an address of that version in --url, or start the server with --bind :: and a --node-ip of each",
        )
    await asyncio.gather(*(_connected(one, _CONNECT) for one in participants))
    failed = next((one for one in participants if not one.connected), None)
    if failed is None:
        return f"UDP passes to {_list(named)}"
    if failed.reachable:
        raise FaultError(
            "dtls",
            "Packets pass, but no encrypted connection comes about",
            fix="Look for a firewall that drops large UDP packets (DTLS); lower the MTU on the way to the server",
        )
    if not named:
        raise FaultError(
            "no_udp", "The server names no UDP address", fix="Switch its UDP port on (LiveKit: rtc.udp_port)"
        )
    # The port is in order if it answers where the signalling does.
    for port in {port for address, port in named if address != host}:
        failed.try_address(host, port)
    if any(address != host for address, _ in named) and await failed.until(lambda: failed.reachable, _DETOUR):
        raise FaultError(
            "node_address",
            f"The server says it is at {_list(named)}, where nothing answers; at {host} it does",
            fix=f"Start it with: greenroom server --node-ip {host} (LiveKit: rtc.node_ip)",
        )
    raise _blocked(named, host)


async def _connected(participant: Participant, seconds: float) -> bool:
    return await participant.until(lambda: participant.connected, seconds)


async def check_audio(speaker: Participant, listener: Participant) -> str:
    """Have one hear the other. Raises :class:`FaultError`."""
    if not await listener.until(lambda: listener.heard.received >= _PACKETS, _LISTEN):
        came, sent = listener.heard.received, speaker.heard.sent
        raise FaultError(
            "not_heard",
            f"Of {sent} packets of audio {came} came back",
            fix=_LOSSY if came else "The key may not publish or subscribe; else the server's log says why",
        )
    heard = listener.heard
    latency = f", {heard.latency * 1000:.1f} ms from one to the other" if heard.latency is not None else ""
    if heard.lost > heard.received // 10:
        raise FaultError("lossy", f"Of {heard.received + heard.lost} packets {heard.lost} were lost", fix=_LOSSY)
    return f"heard {heard.received} packets of its own audio, lost {heard.lost}{latency}"


_LOSSY: Final = "Look for an overloaded machine or network between here and the server"


def _blocked(named: list[tuple[str, int]], host: str) -> FaultError:
    ports = sorted({port for _, port in named})
    words = " and ".join(str(port) for port in ports)
    opened = " && ".join(f"ufw allow {port}/udp" for port in ports)
    if any(address == host for address, _ in named):
        where = _list([(address, port) for address, port in named if address == host])
    else:
        where = f"{_list(named)}, nor from {host}"
    return FaultError(
        "udp_blocked",
        f"No UDP packet comes back from {where}; signalling works",
        fix=f"Open UDP port {words} in firewalls on the way, e.g. on the server: {opened}",
    )


def _list(addresses: list[tuple[str, int]]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses[:4]) or "no address"
