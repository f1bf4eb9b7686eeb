"""What plain requests tell of a server: whether it is there, its clock, whether it takes the key."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, urlsplit

from greenroom.cli.doctor._report import FaultError
from greenroom.config import DEFAULT_RTC_PORT, is_loopback
from greenroom.errors import GreenroomError

PATIENCE: Final = 5.0
_LARGEST: Final = 1 << 16
#: Tokens get 60 s of leeway; a clock this far off is a matter of luck.
_SKEW: Final = 50.0
#: Worth a word: the header tells whole seconds only.
_NOTABLE: Final = 5.0
_TLS_WORDS: Final = ("https", "ssl", "tls")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server is, from its WebSocket address without a slash at the end."""

    secure: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a ``ws`` or ``wss`` address apart."""
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        return cls(
            secure=secure, host=parts.hostname or "", port=parts.port or (443 if secure else 80), path=parts.path
        )

    def url(self, scheme: str, *, secure: bool | None = None) -> str:
        """Return the address with another scheme, ``ws`` or ``http``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        tail = "s" if (self.secure if secure is None else secure) else ""
        return f"{scheme}{tail}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class Reply:
    """An HTTP response.

    :param server_time: seconds since 1970 by its ``Date``; None without one.
    :param local_time: the same by this machine, half-way through the request.
    """

    status: int
    body: str
    server_time: float | None
    local_time: float


def fetch(
    address: Address, path: str, *, token: str = "", method: str = "GET", body: str = "", secure: bool | None = None
) -> Reply:
    """Request ``path``. Blocks. Raises ``OSError`` or ``http.client.HTTPException``."""
    headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
    if body:
        headers = {**headers, "Content-Type": "application/json"}
    opener = (
        http.client.HTTPSConnection if (address.secure if secure is None else secure) else http.client.HTTPConnection
    )
    with contextlib.closing(opener(address.host, address.port, timeout=PATIENCE)) as connection:
        began = time.time()
        connection.request(method, f"{address.path}{path}", body or None, dict(headers))
        answer = connection.getresponse()
        content = answer.read(_LARGEST).decode(errors="replace").strip()
        moment = (began + time.time()) / 2
        return Reply(answer.status, content, _date(answer.headers.get("Date")), moment)


def check_server(address: Address, rtc_port: int = DEFAULT_RTC_PORT) -> tuple[Reply, str]:
    """Ask for anything. Raises :class:`FaultError` when nothing that speaks HTTP answers in the way that was asked."""
    where = f"{address.host}:{address.port}"
    try:
        reply = fetch(address, "/")
    except ssl.SSLCertVerificationError as error:
        raise FaultError(
            "certificate",
            f"The certificate of {where} is not trusted: {error.verify_message}",
            fix="Use the name that stands in the certificate, or name its authority in SSL_CERT_FILE",
        ) from None
    except ssl.SSLError:
        raise _plain(address) from None
    except socket.gaierror:
        raise FaultError(
            "no_such_host", f"There is no host '{address.host}'", fix="Check --url or LIVEKIT_URL"
        ) from None
    except ConnectionRefusedError:
        raise _nobody(address, rtc_port) from None
    except TimeoutError:
        raise FaultError(
            "no_answer",
            f"{where} does not answer within {PATIENCE:g} s",
            fix=f"Check the address, and that firewalls let TCP port {address.port} through",
        ) from None
    except (http.client.HTTPException, ConnectionError):
        raise _encrypted(address) if _speaks_tls(address) else _foreign(where, "does not speak HTTP") from None
    except OSError as error:
        raise FaultError(
            "unreachable", f"{where} cannot be reached: {error.strerror}", fix="Check the network"
        ) from None
    if reply.status == 400 and any(word in reply.body.lower() for word in _TLS_WORDS) and _speaks_tls(address):
        raise _encrypted(address)
    return reply, f"{address.url('http')} answers"


def check_clock(reply: Reply) -> str:
    """Compare the clocks. Raises :class:`FaultError` when tokens would be refused for it."""
    if reply.server_time is None:
        return "the server does not tell its time"
    # The header is cut to whole seconds.
    ahead = reply.local_time - (reply.server_time + 0.5)
    words = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    if abs(ahead) > _SKEW:
        raise FaultError(
            "clock_skew",
            f"This machine's clock is {words}; tokens are refused for that",
            fix="Set the clock that is wrong, on this machine or the server's: timedatectl set-ntp true",
        )
    return f"this machine's clock is {words}" if abs(ahead) > _NOTABLE else "the clocks agree"


def check_key(address: Address, key: str, token: str, join_query: str) -> str:
    """Have the server validate a join. Raises :class:`FaultError` when it would refuse."""
    query = f"/validate?{join_query}"
    try:
        reply = fetch(address, f"/rtc/v1{query}", token=token)
        if reply.status == 404 and "room" not in reply.body:
            # Servers before LiveKit 1.9 have the older path only.
            reply = fetch(address, f"/rtc{query}", token=token)
    except (OSError, http.client.HTTPException) as error:
        raise FaultError("unreachable", f"The server broke off: {error}", fix="Its log says why") from None
    if reply.status == 200:
        return f"the server takes key {key}"
    said = reply.body.splitlines()[0][:200] if reply.body else f"status {reply.status}"
    if reply.status == 401:
        raise _refused(key, said)
    if reply.status == 404 and "room" not in reply.body:
        raise _foreign(f"{address.host}:{address.port}", "is not a LiveKit server")
    raise FaultError("join_refused", f"The server refuses to let anybody in: {said}", fix="Its log says why")


def udp_port_taken(host: str, port: int) -> str | None:
    """Return why a server here could not open its UDP port; None when it could."""
    from greenroom.server import check_udp_port  # noqa: PLC0415 - only when a server is missing

    try:
        check_udp_port(host, port)
    except GreenroomError as error:
        return error.message
    return None


def query_value(text: str) -> str:
    """Escape a value for a query."""
    return quote(text, safe="")


def _refused(key: str, said: str) -> FaultError:
    if "API key" in said and "signature" not in said:
        message = f"The server has no API key '{key}'"
    elif "signature" in said or "verification" in said or "cryptographic" in said:
        message = f"The secret is not the one of API key '{key}'"
    else:
        return FaultError(
            "refused", f"The server refuses key '{key}': {said}", fix="Check the key's policy on the server"
        )
    return FaultError(
        "wrong_key",
        message,
        fix="Pass the server's own: --key KEY:SECRET, or set LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
    )


def _nobody(address: Address, rtc_port: int) -> FaultError:
    message = f"Nothing listens at {address.host}:{address.port}"
    if not is_loopback(address.host):
        return FaultError("no_server", message, fix="Start the server there, or check the port in --url")
    taken = udp_port_taken(address.host, rtc_port)
    if taken:
        return FaultError("port_taken", f"{message}, and a server could not start: {taken}", fix=_other_port(rtc_port))
    port = "" if address.port == 7880 else f" --port {address.port}"
    return FaultError("no_server", message, fix=f"Start one: greenroom dev{port}, or check --url")


def _other_port(rtc_port: int) -> str:
    return f"Start it with: greenroom dev --rtc-port {rtc_port + 1}"


def _plain(address: Address) -> FaultError:
    url = address.url("ws", secure=False)
    return FaultError(
        "not_encrypted",
        f"{address.host}:{address.port} speaks plain HTTP, not TLS",
        fix=f"Use --url {url}, or LIVEKIT_URL={url}",
    )


def _encrypted(address: Address) -> FaultError:
    url = address.url("ws", secure=True)
    return FaultError(
        "encrypted",
        f"{address.host}:{address.port} speaks TLS, not plain HTTP",
        fix=f"Use --url {url}, or LIVEKIT_URL={url}",
    )


def _foreign(where: str, what: str) -> FaultError:
    return FaultError(
        "not_livekit",
        f"What listens at {where} {what}",
        fix="Check the port in --url; a server beside it starts with: greenroom dev --port 7890",
    )


def _speaks_tls(address: Address) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=address.host),
        ):
            return True
    except OSError:
        return False


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None
