"""HTTP requests that this program makes: a small client, and a guard of where it may connect."""

from __future__ import annotations

from greenroom.httpclient._addresses import Reach, is_allowed, reachable
from greenroom.httpclient._client import HttpClient, Response
from greenroom.httpclient._errors import AddressRefusedError, HttpError

__all__ = ["AddressRefusedError", "HttpClient", "HttpError", "Reach", "Response", "is_allowed", "reachable"]
