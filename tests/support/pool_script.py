"""One program for the stock worker and for a shard: what happens in it is noted, line by line, in a file."""

from __future__ import annotations

#: The case is the dispatch's metadata, the notes go to the file of the same name in the directory ``NOTES``.
PROGRAM = '''
import asyncio, logging, os
from livekit import rtc
from livekit.agents import (
    Agent, AgentServer, AgentSession, JobContext, JobProcess, JobRequest, RunContext, cli, function_tool,
    get_job_context, llm,
)
from livekit.agents.voice.room_io import RoomOptions

NOTES = os.environ["NOTES"]


def note(case, *words):
    with open(os.path.join(NOTES, case), "a") as file:
        print(*words, file=file)


class Scripted(llm.LLM):
    """Calls the tool "work" for whoever asks, then says what came of it."""

    def chat(self, *, chat_ctx, tools=None, **options):
        return Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=options["conn_options"])


class Answer(llm.LLMStream):
    async def _run(self):
        last = self._chat_ctx.items[-1]
        if last.type == "function_call_output":
            delta = llm.ChoiceDelta(role="assistant", content=f"{last.is_error} {last.output}")
        else:
            call = llm.FunctionToolCall(name="work", arguments="{}", call_id="c1")
            delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
        self._event_ch.send_nowait(llm.ChatChunk(id="x", delta=delta))


class Worker(Agent):
    def __init__(self, case):
        super().__init__(instructions="x", llm=Scripted())
        self.case = case

    async def on_enter(self):
        note(self.case, "on_enter")

    async def on_exit(self):
        note(self.case, "on_exit")

    @function_tool
    async def work(self, context: RunContext) -> str:
        """Work."""
        note(self.case, "tool runs")
        if self.case == "tool":
            raise ValueError("the tool broke")
        if self.case == "hangs up":
            get_job_context().shutdown("the tool hung up")
        return "done"


def setup(proc: JobProcess):
    proc.userdata["set"] = "up"


server = AgentServer(setup_fnc=setup, num_idle_processes=0, port=0, host="127.0.0.1", session_end_timeout=1.0)


async def on_request(request: JobRequest):
    case = request.job.metadata
    note(case, "request", request.agent_name, request.room.name == case.replace(" ", "-"))
    if case == "refused":
        await request.reject()
    elif case == "unanswered":
        pass
    else:
        await request.accept(name="N", identity="", metadata="M", attributes={"k": "v"})


async def on_session_end(ctx: JobContext):
    case = ctx.job.metadata
    note(case, "session end", ctx.room.isconnected())
    if case == "end raises":
        raise RuntimeError("end")
    if case == "end hangs":
        await asyncio.sleep(60)


@server.rtc_session(agent_name="same", on_request=on_request, on_session_end=on_session_end)
async def entrypoint(ctx: JobContext):
    case = ctx.job.metadata
    note(case, "entry", ctx.room.name == ctx.job.room.name, ctx.proc.userdata["set"], ctx.room.isconnected())
    note(case, "accepted", ctx._info.accept_arguments.name, ctx._info.accept_arguments.metadata)
    note(case, "identity", ctx.local_participant_identity == "agent-" + ctx.job.id, get_job_context() is ctx)

    async def closed(reason):
        note(case, "shutdown callback", reason, ctx.room.isconnected())

    ctx.add_shutdown_callback(closed)
    await CASES[case](ctx, case)
    note(case, "entry returns")


async def plain(ctx, case):
    await ctx.connect()
    note(case, "connected", ctx.room.local_participant.name, ctx.room.local_participant.metadata)
    await ctx.room.local_participant.set_attributes({"ready": "yes"})


async def shuts_down(ctx, case):
    await plain(ctx, case)
    ctx.shutdown("done here")


async def shuts_down_early(ctx, case):
    ctx.shutdown("not needed")


async def raises_before(ctx, case):
    raise ValueError("before")


async def raises_after(ctx, case):
    await plain(ctx, case)
    raise ValueError("after")


async def together(ctx, case):
    one, two = asyncio.Event(), asyncio.Event()

    async def first(reason):
        one.set()
        await two.wait()
        note(case, "first", reason)

    async def second():
        await one.wait()
        note(case, "second")
        two.set()

    async def broken():
        await two.wait()
        raise RuntimeError("callback")

    for callback in (first, second, broken):
        ctx.add_shutdown_callback(callback)
    await shuts_down(ctx, case)


async def by_participant(ctx, case):
    async def person(job, participant):
        note(case, "participant entry", participant.identity, get_job_context() is job)
        if participant.identity == "ada":
            raise KeyError("participant")

    ctx.add_participant_entrypoint(person)
    await plain(ctx, case)


async def talks(ctx, case):
    session = AgentSession()

    @session.on("close")
    def _(event):
        note(case, "close", event.reason.value)

    @session.on("function_tools_executed")
    def _(event):
        note(case, "executed", [output.is_error for output in event.function_call_outputs])

    await session.start(Worker(case), room=ctx.room, room_options=RoomOptions(audio_input=False, audio_output=False))
    note(case, "started", ctx.primary_session is session)
    await ctx.room.local_participant.set_attributes({"ready": "yes"})
    if case in {"tool", "hangs up"}:
        result = await session.run(user_input="work")
        note(case, "ran", [event.type for event in result.events])


async def leaves_work(ctx, case):
    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            note(case, "work is cancelled")

    ctx.kept = asyncio.create_task(work())
    await plain(ctx, case)


async def lingers(ctx, case):
    await plain(ctx, case)
    try:
        await asyncio.sleep(0.5)
    finally:
        note(case, "lingered")


CASES = {
    "hang up": plain, "room ends": plain, "taken away": plain, "removed": plain, "end raises": plain,
    "end hangs": plain, "shuts down": shuts_down, "shuts down early": shuts_down_early,
    "raises before": raises_before, "raises after": raises_after,
    "callbacks": together, "participant": by_participant,
    "tool": talks, "hangs up": talks, "caller leaves a session": talks, "session taken away": talks,
    "leaves work": leaves_work, "lingers": lingers,
}

if __name__ == "__main__":
    cli.run_app(server)
'''
