"""How long the stand-in pretends to think: seeded, so that a conversation takes the same time again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from greenroom.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Latency:
    """Waiting times in seconds.

    :param first_token: before the first word or the tool call.
    :param per_token: before each further word.
    :param jitter: share by which each wait may be shorter or longer, 0 to 1.
    """

    first_token: float = 0.25
    per_token: float = 0.03
    jitter: float = 0.3

    def __post_init__(self) -> None:
        if min(self.first_token, self.per_token) < 0 or not 0 <= self.jitter <= 1:
            raise ConfigError(
                "The offline LLM's latency is out of range", fix="Give seconds from 0, jitter from 0 to 1"
            )

    def scaled(self, factor: float) -> Latency:
        """Return the same latency, ``factor`` times as long."""
        return Latency(self.first_token * factor, self.per_token * factor, self.jitter)

    def waits(self, rng: random.Random) -> Iterator[float]:
        """Yield the wait before each word, without end."""
        base = self.first_token
        while True:
            yield base * rng.uniform(1 - self.jitter, 1 + self.jitter)
            base = self.per_token
