"""A whole voice session of LiveKit's without a room: flite asks, flite answers, PocketSphinx hears both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from livekit.agents import Agent, AgentSession, inference

from greenroom import offline
from greenroom.offline import Rule
from support.voice_call import VoiceCall, frames

pytestmark = pytest.mark.unit

STORY = (
    "Once upon a time there was a small house by the sea. In it lived a fisherman and his cat. "
    "Every morning they went out to catch fish. Every evening they came home and ate what they had caught. "
    "One day a storm came up, and for a whole week nobody could leave the house. They told each other stories. "
    "When the sun came back they opened the door, and on the step there lay a golden coin."
)
RULES = [Rule("tell me a story", STORY), Rule("what is free on {day}", "On {day} ten o'clock is free.")]


@pytest.fixture
async def call() -> AsyncIterator[VoiceCall]:
    ear, voice = offline.STT(RULES), offline.TTS()
    session: AgentSession[None] = AgentSession(
        stt=ear,
        llm=offline.LLM(RULES, latency=0),
        tts=voice,
        vad=inference.VAD(),
        aec_warmup_duration=None,
        use_tts_aligned_transcript=True,
        session_close_transcript_timeout=0,
        turn_handling={"turn_detection": "vad", "interruption": {"mode": "vad", "min_duration": 0.2}},
    )
    async with VoiceCall(session, Agent(instructions="")) as call:
        yield call
    await ear.aclose()
    await voice.aclose()


async def recognised(audio: bytes) -> str:
    """Hear with an ear of its own, which expects nothing."""
    async with offline.STT() as ear:
        return (await ear.recognize(frames(bytes(16000) + audio + bytes(32000)))).alternatives[0].text


async def test_a_question_is_heard_and_its_answer_is_intelligible(call: VoiceCall) -> None:
    call.microphone.say("What is free on Monday?")
    await call.until(lambda: bool(call.messages("assistant")))
    assert call.heard[-1] == ("what is free on Monday", True)
    assert call.heard[0][1] is False
    assert call.messages("user") == ["what is free on Monday"]
    assert call.messages("assistant") == ["On Monday ten o'clock is free."]
    assert "monday ten o'clock is free" in await recognised(call.loudspeaker.take())


async def test_speaking_over_the_agent_stops_it_and_the_history_has_what_was_said(call: VoiceCall) -> None:
    call.microphone.say("Tell me a story.")
    await call.until(lambda: call.session.agent_state == "speaking")
    await call.loudspeaker.played_for(3.5)
    call.microphone.say("What is free on Friday?")
    await call.until(lambda: len(call.messages("assistant")) == 2)
    story, answer = call.messages("assistant")
    assert STORY.startswith(story)
    assert "Once upon a time there was" in story
    assert "golden coin" not in story
    assert answer == "On Friday ten o'clock is free."
    assert call.messages("user") == ["tell me a story", "what is free on Friday"]
    interrupted = [item.interrupted for item in call.session.history.items if item.type == "message"]
    assert interrupted == [False, True, False, False]
    heard = await recognised(call.loudspeaker.take())
    assert "once upon a time" in heard
    assert "golden coin" not in heard
    assert "friday ten o'clock is free" in heard
