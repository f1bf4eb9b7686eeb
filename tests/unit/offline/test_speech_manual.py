"""What docs/speech.md says is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import AgentSession

from greenroom import offline
from greenroom.offline import _stt_spoken
from greenroom.offline._tts_flite import VOICES

pytestmark = pytest.mark.unit

MANUAL = (Path(__file__).parents[3] / "docs" / "speech.md").read_text()


async def test_the_example_makes_a_session_that_hears_and_speaks() -> None:
    program = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(program, names)
    session: AgentSession[None] = names["waiter"]()
    assert isinstance(session.stt, offline.STT)
    assert isinstance(session.tts, offline.TTS)


def test_every_option_of_the_stt_is_listed() -> None:
    table = MANUAL.partition("| option | meaning |")[2].partition("\n\n")[0]
    options = set(inspect.signature(offline.STT).parameters) - {"rules"}
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == options


def test_every_voice_is_named() -> None:
    assert {voice for voice in VOICES if f"`{voice}`" not in MANUAL} == set()


def test_it_is_as_many_names() -> None:
    names = len(_stt_spoken._GIVEN_NAMES) + len(_stt_spoken._FAMILY_NAMES)
    assert f"some {round(names, -1)} common ones" in MANUAL
