"""What a session cost: usage times a table of prices that has a version. An unknown price is unknown, not nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from greenroom.errors import ConfigError
from greenroom.sessions._events import Usage

_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
_DIGITS: Final = 9


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The price of one model, each per unit of what LiveKit counts; ``None`` when it is not sold by that.

    :param kind: ``llm``, ``tts``, ``stt``, ``interruption`` or ``eot``.
    :param providers: names LiveKit's plugins give the provider, in lower case.
    :param model: as the provider names it. A date behind it in the usage (``-2025-04-14``) is the same model.
    :param as_of: when the price was looked up, and ``source`` where.
    """

    kind: str
    providers: tuple[str, ...]
    model: str
    input_tokens_1m: float | None = None
    input_cached_tokens_1m: float | None = None
    output_tokens_1m: float | None = None
    characters_1m: float | None = None
    audio_minute: float | None = None
    requests_1k: float | None = None
    as_of: str = ""
    source: str = ""


class PriceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices in one currency. Another ``version`` makes the costs of all sessions anew."""

    version: str
    currency: str
    prices: tuple[Price, ...]

    def find(self, usage: Usage) -> Price | None:
        """Return the price of what was used."""
        provider, model = usage.provider.lower(), usage.model.lower()
        for name in (model, _DATED.sub("", model)):
            for price in self.prices:
                if price.kind == usage.kind and price.model == name and provider in price.providers:
                    return price
        return None


class CostLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model was used for. ``cost`` is ``None`` when no price is known."""

    kind: str
    provider: str = ""
    model: str = ""
    amounts: dict[str, float] = {}
    cost: float | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a session cost.

    :param amount: of everything; ``None`` when a price is missing or nothing is known of what was used.
    :param known: of what has a price.
    :param price_table: the version of the table.
    """

    amount: float | None
    known: float
    currency: str
    price_table: str
    lines: tuple[CostLine, ...] = ()


def cost_of(usage: Iterable[Usage] | None, table: PriceTable) -> Cost:
    """Return what ``usage`` cost; ``None`` is unknown usage."""
    lines = tuple(
        CostLine(
            kind=each.kind, provider=each.provider, model=each.model, amounts=each.amounts, cost=_cost(each, table)
        )
        for each in sorted(usage or (), key=lambda each: (each.kind, each.provider, each.model))
    )
    costs = [line.cost for line in lines]
    known = round(sum(cost for cost in costs if cost is not None), _DIGITS)
    amount = None if usage is None or None in costs else known
    return Cost(amount=amount, known=known, currency=table.currency, price_table=table.version, lines=lines)


def load_prices(path: Path | None = None) -> PriceTable:
    """Read a table of prices; the one that comes with Greenroom by default. Raises :class:`ConfigError`."""
    if path is None:
        return _packaged()
    try:
        return msgspec.json.decode(path.read_bytes(), type=PriceTable)
    except OSError as error:
        raise ConfigError(f"Cannot read the price table {path}: {error.strerror}", fix="Check the path") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is no price table: {error}", fix="Compare it with docs/sessions.md") from None


@cache
def _packaged() -> PriceTable:
    raw = resources.files("greenroom.sessions").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(raw, type=PriceTable)


def _cost(usage: Usage, table: PriceTable) -> float | None:
    amounts = usage.amounts
    if not any(amounts.values()):
        return 0.0
    price = table.find(usage)
    if price is None:
        return None
    parts: list[float | None]
    if usage.kind == "llm" or price.input_tokens_1m is not None:
        parts = _tokens(amounts, price)
    elif usage.kind == "tts" and price.characters_1m is not None:
        parts = [_per(amounts, "characters_count", price.characters_1m, 1e6)]
    elif usage.kind in {"tts", "stt"}:
        parts = [_per(amounts, "audio_duration", price.audio_minute, 60.0)]
    else:
        parts = [_per(amounts, "total_requests", price.requests_1k, 1e3)]
    return None if None in parts else round(sum(part or 0.0 for part in parts), _DIGITS)


def _tokens(amounts: Mapping[str, float], price: Price) -> list[float | None]:
    if any(amounts.get(f"{side}_audio_tokens") for side in ("input", "output")):
        # Audio tokens have a price of their own, which the table does not hold.
        return [None]
    cached = amounts.get("input_cached_tokens", 0.0)
    plain = {"fresh": max(0.0, amounts.get("input_tokens", 0.0) - cached)}
    return [
        _per(plain, "fresh", price.input_tokens_1m, 1e6),
        _per(amounts, "input_cached_tokens", price.input_cached_tokens_1m, 1e6),
        _per(amounts, "output_tokens", price.output_tokens_1m, 1e6),
    ]


def _per(amounts: Mapping[str, float], name: str, price: float | None, unit: float) -> float | None:
    amount = amounts.get(name, 0.0)
    if not amount:
        return 0.0
    return None if price is None else amount / unit * price
