"""Why a request got no answer."""

from __future__ import annotations

from greenroom.errors import GreenroomError


class HttpError(GreenroomError):
    """No answer came: no connection, a time-out, or something that is not HTTP."""

    code = "http_failed"


class AddressRefusedError(HttpError):
    """The host has no address that this program may connect to."""

    code = "address_refused"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"'{host}' is an address of a private network",
            fix="Use a public address, or allow private ones where the URL is configured",
            context={"host": host},
        )
