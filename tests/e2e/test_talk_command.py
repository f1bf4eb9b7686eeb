"""``greenroom talk`` as its user runs it, against ``greenroom dev`` with the packaged agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import rtc

from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from support.program import PATIENCE, greenroom
from support.sdk import Caller
from support.talking import ENVIRONMENT, next_event, start, talk, terminal

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("dev")]

GREETING = "Hello, this is the front desk of Harbour Clinic. How can I help you?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the packaged agent can be called."""
    async with greenroom("dev", "--port", "0", "--rtc-port", "0", cwd=tmp_path_factory.mktemp("dev")) as program:
        address = await program.ready()
        await program.line("agent front-desk registered")
        yield address.replace("http", "ws", 1)
        await program.interrupt()


async def test_lines_from_a_pipe_are_said_in_turn(url: str, tmp_path: Path) -> None:
    lines = "book an appointment on 2030-05-03 at 10:00\nAda\n\nwhere are you?\n"
    status, out, err = await talk("front-desk", "--url", url, cwd=tmp_path, lines=lines)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"front-desk: {GREETING}",
        "you: book an appointment on 2030-05-03 at 10:00",
        "front-desk: What name shall I put?",
        "you: Ada",
        '  [book_appointment {"day": "2030-05-03", "time": "10:00", "name": "Ada"}]',
        "  [book_appointment: Ada is booked for Friday 3 May at 10:00.]",
        "front-desk: Done. Ada is booked for Friday 3 May at 10:00. See you then!",
        "you: where are you?",
        "front-desk: We are at 1 Harbour Street, across from the ferry.",
    ]


async def test_a_program_reads_events_and_the_only_agent_needs_no_name(url: str, tmp_path: Path) -> None:
    status, out, err = await talk(
        "--json", "--room", "lobby", "--name", "Ada", cwd=tmp_path, lines="where are you?", LIVEKIT_URL=url
    )
    assert (status, err) == (0, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert told[0] | {"at": 0, "identity": ""} == {
        "event": "connected",
        "url": url,
        "room": "lobby",
        "identity": "",
        "at": 0,
    }
    assert (told[1]["event"], told[1]["agent"]) == ("agent_joined", "front-desk")
    assert (told[-1]["event"], told[-1]["by"]) == ("ended", "caller")
    assert {event["state"] for event in told if event["event"] == "state"} >= {"thinking", "speaking", "listening"}
    said = [event for event in told if event["event"] == "said"]
    assert [event["text"] for event in said] == [GREETING, "We are at 1 Harbour Street, across from the ferry."]
    for event in said:
        words = [part["text"] for part in told if part["event"] == "words" and part["message"] == event["message"]]
        assert len(words) > 1
        assert "".join(words) == event["text"]
    order = [event["event"] for event in told if event["event"] in {"sent", "said"}]
    assert order == ["said", "sent", "said"]


async def test_an_agent_that_does_not_come_is_one_line_with_who_is_there(url: str, tmp_path: Path) -> None:
    status, out, err = await talk("nobody", "--timeout", "1", "--url", url, cwd=tmp_path, lines="hello")
    assert (status, out) == (1, "")
    assert err == (
        "greenroom: Agent 'nobody' did not come within 1 s. The server has front-desk. "
        "Call one of these, or run: greenroom dev PATH\n"
    )


async def test_a_wrong_key_is_one_line_with_the_way_out(url: str, tmp_path: Path) -> None:
    for key in ("devkey:wrong", "nobody:secret"):
        status, out, err = await talk("front-desk", "--url", url, "--key", key, cwd=tmp_path)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"greenroom: {url} does not accept the key '{key.partition(':')[0]}'")
        assert "--key KEY:SECRET" in err
        assert key.partition(":")[2] + "'" not in err


async def test_a_failure_is_an_event_too(url: str, tmp_path: Path) -> None:
    status, out, err = await talk("--json", "--url", url, "--key", "devkey:wrong", cwd=tmp_path)
    told = json.loads(out)
    assert (status, told["event"]) == (2, "failed")
    assert err == f"greenroom: {told['message']}. {told['fix']}\n"


async def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    status, out, err = await talk("--url", "ws://127.0.0.1:1", cwd=tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith("greenroom: Nothing answers at ws://127.0.0.1:1. Start it with: greenroom dev")
    assert err.count("\n") == 1


async def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['livekit.rtc'] = None; sys.argv = ['greenroom', 'talk', '--url', 'ws://127.0.0.1:1']; "
        "from greenroom.cli import main; sys.exit(main())"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd=tmp_path, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT
    )
    _, err = await process.communicate()
    assert err.decode() == "greenroom: greenroom talk needs the 'agents' extra. Run: pip install 'greenroom[agents]'\n"
    assert process.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupting_hangs_up(url: str, tmp_path: Path, number: signal.Signals) -> None:
    process = await start("front-desk", "--json", "--url", url, cwd=tmp_path)
    try:
        await next_event(process, "said")
        process.send_signal(number)
        ended = await next_event(process, "ended")
        _, err = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (ended["reason"], ended["by"], process.returncode, err) == ("You left the call.", "caller", 0, b"")


async def test_interrupting_before_the_agent_is_there_hangs_up_too(url: str, tmp_path: Path) -> None:
    process = await start("nobody", "--json", "--url", url, cwd=tmp_path)
    try:
        await next_event(process, "connected")
        process.send_signal(signal.SIGINT)
        await next_event(process, "ended")
        _, err = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (process.returncode, err) == (0, b"")


async def test_a_reader_that_has_enough_ends_without_complaint(url: str, tmp_path: Path) -> None:
    command = f"printf 'hello\\nhelp\\n' | {sys.executable} -m greenroom talk front-desk --url {url} | head -n 1"
    process = await asyncio.create_subprocess_shell(
        command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert (out.decode(), err.decode()) == (f"front-desk: {GREETING}\n", "")


async def test_a_server_that_stops_ends_the_call(tmp_path: Path) -> None:
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as server:
        url = (await server.ready()).replace("http", "ws", 1)
        process = await start("anybody", "--json", "--url", url, cwd=tmp_path)
        try:
            await next_event(process, "connected")
            await server.interrupt()
            failed = await next_event(process, "failed")
            await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert (failed["message"], process.returncode) == ("The server stopped", 1)


@contextlib.asynccontextmanager
async def played(tmp_path: Path, lines: str, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Call an agent that the test plays; yields the call, in which ``lines`` are said, and the server."""
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as server:
        url = (await server.ready()).replace("http", "ws", 1)
        process = await start("desk", "--json", "--room", "r", "--url", url, *arguments, cwd=tmp_path)
        assert process.stdin
        process.stdin.write(lines.encode())
        process.stdin.write_eof()
        try:
            await next_event(process, "connected")
            yield process, url
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def agent_joins(url: str) -> tuple[Caller, asyncio.Queue[tuple[str, str, rtc.TextStreamInfo]]]:
    """Join as the agent; returns it and what it hears."""
    grant = VideoGrant(room_join=True, room="r", agent=True, can_update_own_metadata=True)
    key = ApiKey(key="devkey", secret="secret")
    token = mint(key, identity="agent-1", kind="agent", attributes={"lk.agent.name": "desk"}, video=grant)
    agent = Caller()
    heard = agent.on_text("lk.chat")
    await agent.connect(url, token)
    await agent.me.set_attributes({"lk.agent.state": "listening"})
    return agent, heard


@pytest.mark.parametrize(
    ("lines", "event", "said", "status"),
    [
        ("one", "ended", "desk hung up.", 0),
        ("one\ntwo", "failed", "desk hung up before everything was said", 1),
    ],
)
async def test_an_agent_may_hang_up_when_there_is_nothing_left_to_say(
    tmp_path: Path, lines: str, event: str, said: str, status: int
) -> None:
    async with played(tmp_path, lines) as (process, url):
        agent, heard = await agent_joins(url)
        assert (await heard.get())[1] == "one"
        await agent.close()
        assert (await next_event(process, "agent_left"))["reason"] == "client_initiated"
        over = await next_event(process, event)
        assert over.get("reason", over.get("message")) == said
        assert await process.wait() == status


async def test_an_agent_that_stays_silent_is_not_waited_for_forever(tmp_path: Path) -> None:
    async with played(tmp_path, "one", "--timeout", "3") as (process, url):
        agent, _ = await agent_joins(url)
        failed = await next_event(process, "failed")
        assert failed["message"] == "desk did not answer within 3 s"
        assert await process.wait() == 1
        await agent.close()


async def test_a_call_goes_on_with_the_agent_that_takes_over(tmp_path: Path) -> None:
    async with played(tmp_path, "one\ntwo") as (process, url):
        agent, heard = await agent_joins(url)
        assert (await heard.get())[1] == "one"
        await agent.close()
        other, heard = await agent_joins(url)
        assert (await heard.get())[1] == "two"
        await other.me.send_text("good bye", topic="lk.transcription")
        assert (await next_event(process, "said"))["text"] == "good bye"
        assert (await next_event(process, "ended"))["by"] == "caller"
        assert await process.wait() == 0
        await other.close()


async def test_a_person_types_below_the_conversation(url: str, tmp_path: Path) -> None:
    async with terminal("front-desk", "--url", url, cwd=tmp_path) as call:
        await call.shows(r"help you\?.*listening +> ")
        call.press("where arr\x7fe you?\r")
        await call.shows(r"across from the ferry\.\r\n")
        call.press("\x1b[A")  # the line before, out of the history
        await call.shows(r"ferry\..*where are you\?")
        call.press("\r")
        await call.shows(r"ferry\..*ferry\.\r\n.*listening +> ")
        call.press("\x04")
        await call.shows(r"You left the call\.")
        assert await call.process.wait() == 0
        assert "Traceback" not in call.screen


async def test_hanging_up_gives_the_terminal_back(url: str, tmp_path: Path) -> None:
    async with terminal("front-desk", "--url", url, cwd=tmp_path) as call:
        before = termios.tcgetattr(call.master)
        await call.shows(r"help you\?.*listening +> ")
        call.press("half a li")
        await call.shows("half a li")
        assert termios.tcgetattr(call.master) != before
        call.process.send_signal(signal.SIGINT)
        await call.shows(r"You left the call\.")
        assert await call.process.wait() == 0
        assert termios.tcgetattr(call.master) == before
