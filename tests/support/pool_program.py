"""A program with an ``AgentPool`` whose model says back what it was told last, as a tool of tests."""

from __future__ import annotations

from pathlib import Path

HEAD = """
import asyncio

from livekit.agents import Agent, DEFAULT_API_CONNECT_OPTIONS, llm
from livekit.agents.voice.room_io import RoomOptions

from greenroom.pool import AgentPool, context

TEXT = RoomOptions(audio_input=False, audio_output=False)


class Stream(llm.LLMStream):
    async def _run(self):
        said = self._chat_ctx.items[-1].text_content
        if said == "fail":
            raise ValueError("no answer")
        delta = llm.ChoiceDelta(role="assistant", content=f"{self._llm.name} hears {said}")
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class Parrot(llm.LLM):
    def __init__(self, name="parrot"):
        super().__init__()
        self.name = name

    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Sales(Agent):
    def __init__(self):
        super().__init__(instructions="You sell.")

    async def on_enter(self):
        # Connected before it is started: the participant is there.
        from livekit.agents import get_job_context
        me = get_job_context().room.local_participant.identity
        print("enters", context.current_agent_name(), context.current_tenant_id(), self.session.tenant_id, bool(me))


class Support(Sales):
    pass


class Witness:
    async def on_session_start(self, info, session):
        print("starts", info.agent_name, info.room_name, info.tenant, info.metadata.get("key"))
        session.on("close", lambda event: print("closes", info.room_name, event.reason.value))

    async def on_session_end(self, info, outcome):
        print("ends", info.room_name, outcome.status.value, type(outcome.error).__name__)


class Rude:
    async def on_session_start(self, info, session):
        raise ValueError("rude")

    async def on_session_end(self, info, outcome):
        raise asyncio.CancelledError

"""


def write_program(path: Path, tail: str) -> Path:
    """Write a program: what comes after those classes is ``tail``."""
    path.write_text(HEAD + tail)
    return path
