"""An agent program that ends in every way a call can end. The metadata of a job says in which."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentServer,
    AgentSession,
    APIConnectionError,
    APIConnectOptions,
    JobContext,
    RunContext,
    function_tool,
    get_job_context,
    llm,
    stt,
    tts,
)
from livekit.agents.beta.tools import EndCallTool
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.agents.voice.room_io import RoomOptions

from greenroom.pool import context

server = AgentServer()
ONCE = APIConnectOptions(max_retry=0, timeout=5)


class Scripted(llm.LLM):
    """Calls the tool that the user names, once; then says what it was told of before."""

    def chat(self, *, chat_ctx: llm.ChatContext, tools: Any = None, conn_options: Any = ONCE, **_: Any) -> Any:
        return ScriptedStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class ScriptedStream(llm.LLMStream):
    async def _run(self) -> None:
        items = [item for item in self.chat_ctx.items if item.type in {"message", "function_call_output"}]
        heard = items[-1].text_content or "" if items and items[-1].type == "message" else ""
        call, text = [], f"I know {len(items)} things"
        if heard.startswith("call "):
            call, text = [llm.FunctionToolCall(name=heard[5:], arguments="{}", call_id=f"call-{len(items)}")], ""
        delta = llm.ChoiceDelta(role="assistant", content=text, tool_calls=call)
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class BrokenLLM(llm.LLM):
    def chat(self, *, chat_ctx: llm.ChatContext, tools: Any = None, conn_options: Any = ONCE, **_: Any) -> Any:
        return BrokenStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class BrokenStream(llm.LLMStream):
    async def _run(self) -> None:
        raise APIConnectionError("no model there", retryable=False)


class BrokenSTT(stt.STT):
    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=False))

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise APIConnectionError("nobody listens", retryable=False)

    def stream(self, *, language: Any = NOT_GIVEN, conn_options: Any = ONCE) -> Any:
        return BrokenHearing(stt=self, conn_options=conn_options)


class BrokenHearing(stt.RecognizeStream):
    async def _run(self) -> None:
        raise APIConnectionError("nobody listens", retryable=False)


class BrokenTTS(tts.TTS):
    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=16000, num_channels=1)

    def synthesize(self, text: str, *, conn_options: Any = ONCE) -> Any:
        return BrokenSpeech(tts=self, input_text=text, conn_options=conn_options)


class BrokenSpeech(tts.ChunkedStream):
    async def _run(self, _output: Any) -> None:
        raise APIConnectionError("no voice left", retryable=False)


class Clerk(Agent):
    def __init__(self, **parts: Any) -> None:
        super().__init__(instructions="You are a clerk.", **parts)

    @function_tool
    async def fail(self) -> str:
        """Fail."""
        raise ValueError("no such order")

    @function_tool
    async def hang_up(self, ctx: RunContext[Any]) -> None:
        """Close the session."""
        ctx.session.shutdown()

    @function_tool
    async def stop_job(self) -> None:
        """Shut the job down."""
        get_job_context().shutdown("the tool is through")

    @function_tool
    async def close_room(self) -> None:
        """Delete the room."""
        await get_job_context().delete_room()

    @function_tool
    async def look_up(self) -> str:
        """Look something up."""
        return "42"


async def say(session: AgentSession[Any], text: str) -> None:
    await session.generate_reply(user_input=text)


@server.rtc_session(agent_name="matrix")
async def entrypoint(ctx: JobContext) -> None:
    mode = ctx.job.metadata
    if mode == "setup":
        raise ValueError("no such table")
    session = made(mode)
    closed = asyncio.Event()
    session.on("close", lambda _event: closed.set())
    await session.start(Clerk(), room=ctx.room, room_options=RoomOptions(audio_output=mode == "tts"))
    if mode == "constructor":
        raise ValueError("nothing to go on with")
    await play(ctx, session, mode)
    if mode in {"llm", "stt", "tts", "hang_up"}:
        await closed.wait()
    await ctx.room.local_participant.set_attributes({"ready": "yes"})


def made(mode: str) -> AgentSession[Any]:
    """Return a session with the parts that its mode wants broken."""
    parts: dict[str, Any] = {
        "llm": {"llm": BrokenLLM()},
        "stt": {"llm": Scripted(), "stt": BrokenSTT()},
        "tts": {"llm": Scripted(), "tts": BrokenTTS()},
    }.get(mode, {"llm": Scripted()})
    return AgentSession(
        conn_options=SessionConnectOptions(
            max_unrecoverable_errors=1, llm_conn_options=ONCE, stt_conn_options=ONCE, tts_conn_options=ONCE
        ),
        tools=EndCallTool(end_instructions=None).tools if mode == "end_call" else [],
        **parts,
    )


async def play(ctx: JobContext, session: AgentSession[Any], mode: str) -> None:
    """Do what the mode asks for, in a session that has begun."""
    if mode == "llm":
        await say(session, "hello")
        await say(session, "hello")
    elif mode == "tts":
        await session.say("hello")
        await session.say("hello")
    elif mode in {"fail", "hang_up", "stop_job", "close_room", "end_call"}:
        await say(session, f"call {mode}")
    elif mode in {"shutdown", "close"}:
        if mode == "close":
            session.shutdown()
        ctx.shutdown("the program is through")
    elif mode == "chat":
        await chat(ctx, session)


async def chat(ctx: JobContext, session: AgentSession[Any]) -> None:
    """Answer what is typed, and say at once what is known."""
    if not context.resumed():
        await say(session, "call look_up")
        await say(session, "hello")
    known = {
        "resumed": context.resumed(),
        "items": [item.type for item in session.current_agent.chat_ctx.items],
        "history": [item.id for item in session.history.items if item.type == "message"],
    }
    if context.resumed():
        await say(session, "go on")
    known["now"] = [item.text_content for item in session.history.items if item.type == "message"]
    await ctx.room.local_participant.set_attributes({"known": json.dumps(known)})
