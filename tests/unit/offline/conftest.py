"""What the tests of the offline LLM share."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Fail the test when anything looks up a name or connects beyond this machine; no key is in the environment."""
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "LIVEKIT_INFERENCE_URL"):
        monkeypatch.delenv(name, raising=False)
    reached: list[object] = []

    def watch(method: str) -> Callable[..., Any]:
        original = getattr(socket.socket, method)

        def attempt(self: socket.socket, address: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6} and not str(address[0]).startswith(("127.", "::1")):
                reached.append(address)
                raise OSError("the test is offline")
            return original(self, address)

        return attempt

    def look_up(host: object, *_args: object, **_kwargs: object) -> Any:
        reached.append(host)
        raise OSError("the test is offline")

    monkeypatch.setattr(socket.socket, "connect", watch("connect"))
    monkeypatch.setattr(socket.socket, "connect_ex", watch("connect_ex"))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield reached
    assert not reached, f"reached for {reached}"
