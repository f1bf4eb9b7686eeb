"""Plays what an agent tells of its session."""

from __future__ import annotations

from typing import Any

from livekit.protocol.agent_pb import agent_session

from support.rtc_peer import Peer


async def tell(agent: Peer, **event: Any) -> None:
    """Broadcast an event of an agent's session, named and shaped as in ``AgentSessionEvent``."""
    message = agent_session.AgentSessionMessage(event=agent_session.AgentSessionEvent(**event))
    writer = await agent.me.stream_bytes("AS_1", topic="lk.agent.session")
    await writer.write(message.SerializeToString())
    await writer.aclose()


async def tell_usage(agent: Peer, **models: tuple[str, str]) -> None:
    """Broadcast what was used so far: provider and model by ``llm``, ``stt`` or ``tts``."""
    kinds = {
        "llm": agent_session.LLMModelUsage,
        "stt": agent_session.STTModelUsage,
        "tts": agent_session.TTSModelUsage,
    }
    used = [
        agent_session.ModelUsage(**{kind: kinds[kind](provider=provider, model=model)})
        for kind, (provider, model) in models.items()
    ]
    usage = agent_session.AgentSessionUsage(model_usage=used)
    await tell(agent, session_usage_updated=agent_session.AgentSessionEvent.SessionUsageUpdated(usage=usage))
