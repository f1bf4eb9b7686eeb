"""What a call of a pool cost so far."""

from __future__ import annotations

import pytest
from livekit.agents.metrics.usage import AgentSessionUsage, LLMModelUsage, STTModelUsage, TTSModelUsage

from greenroom.cli._costs import cost_so_far
from greenroom.pool.shard._facts import usage_by_model
from greenroom.sessions import load_prices

pytestmark = pytest.mark.unit


def test_what_livekit_counted_is_priced_as_far_as_there_are_prices() -> None:
    usage = AgentSessionUsage(
        model_usage=[
            LLMModelUsage(provider="openai", model="gpt-4.1-mini", input_tokens=1_000_000, output_tokens=500_000),
            STTModelUsage(provider="nobody", model="unknown", audio_duration=60),
            TTSModelUsage(provider="offline", model="flite", characters_count=0),
        ]
    )
    price = next(each for each in load_prices().prices if each.model == "gpt-4.1-mini" and each.kind == "llm")
    assert price.input_tokens_1m is not None
    assert price.output_tokens_1m is not None
    expected = price.input_tokens_1m + price.output_tokens_1m / 2
    assert cost_so_far(usage_by_model(usage)) == pytest.approx(expected)


def test_nothing_costs_nothing() -> None:
    assert cost_so_far({}) == 0


def test_prices_are_in_the_currency_of_the_policy() -> None:
    assert load_prices().currency == "USD"
