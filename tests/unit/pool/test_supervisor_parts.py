"""The supervisor's smaller parts: what is in service, its channels and lines, its tokens, figures and imports."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from livekit.protocol import agent

from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint, verify
from greenroom.pool._model import AgentSpec, CodeOptions, Failure, Manifest, Permissions
from greenroom.pool._settings import AgentSettings, BreakerSettings, PoolSettings
from greenroom.pool._wire import Frames, FromNursery, Loading, encode, from_nursery
from greenroom.pool.supervisor import _effective as effective
from greenroom.pool.supervisor._cast import Cast, without
from greenroom.pool.supervisor._channel import Channel
from greenroom.pool.supervisor._environment import nursery_environment
from greenroom.pool.supervisor._link import backoff
from greenroom.pool.supervisor._messages import Load, Post, Terms, agent_url, registration, renewed, worker_status
from greenroom.pool.supervisor._output import MAX_LINE, read_line
from greenroom.pool.supervisor._process import LineReader
from greenroom.pool.supervisor._watch import Contents

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")


def spec(name: str, fingerprint: str = "1", **more: object) -> AgentSpec:
    return AgentSpec(name=name, source=f"/a/{name}.py", fingerprint=fingerprint, **more)  # type: ignore[arg-type]


def manifest(*agents: AgentSpec, failed: tuple[str, ...] = ()) -> Manifest:
    return Manifest(agents=agents, failures=tuple(Failure(source=f"/a/{name}.py", line=3) for name in failed))


def names(cast: Cast) -> list[tuple[str, int]]:
    return [(member.spec.name, member.generation) for member in cast.members]


WANTED = ["/a/clerk.py", "/a/nurse.py"]


def test_an_agent_whose_file_failed_goes_on_as_it_was_and_keeps_its_place() -> None:
    first = Cast().replaced(1, manifest(spec("clerk"), spec("nurse")), WANTED, {})
    second = first.replaced(2, manifest(spec("nurse", "2"), failed=("clerk",)), WANTED, {})
    assert names(second) == [("clerk", 1), ("nurse", 2)]
    assert second.generations == {1, 2}
    assert second.changed(first) == {"nurse"}
    assert second.files >= set(WANTED)


def test_an_agent_whose_file_is_gone_leaves_service_and_a_new_one_that_failed_does_not_enter() -> None:
    first = Cast().replaced(1, manifest(spec("clerk")), WANTED[:1], {})
    second = first.replaced(2, manifest(failed=("nurse",)), WANTED[1:], {})
    assert names(second) == []
    assert [failure.line for failure in second.failures] == [3]


def test_what_no_generation_brings_leaves_the_options_of_the_code_in_force() -> None:
    options = CodeOptions(max_sessions=7)
    first = Cast().replaced(1, Manifest(agents=(spec("clerk"),), options=options), WANTED[:1], {})
    second = first.replaced(2, manifest(failed=("clerk",)), WANTED[:1], {})
    assert second.options == options
    assert second.generation == 1


def test_the_configuration_goes_before_what_the_code_says_of_an_agent() -> None:
    settings = {"clerk": AgentSettings(placement="dedicated", capabilities=("talk",))}
    (member,) = Cast().replaced(1, manifest(spec("clerk")), WANTED, settings).members
    assert (member.spec.placement, member.spec.capabilities) == ("dedicated", ("talk",))


def test_an_agent_whose_set_up_failed_is_no_agent_but_a_failure() -> None:
    left = without(manifest(spec("clerk"), spec("nurse")), {"clerk": "no model"})
    assert [agent.name for agent in left.agents] == ["nurse"]
    assert left.failures[0].message == "clerk: no model"


def settings(**more: object) -> PoolSettings:
    return PoolSettings(url="ws://there", key=KEY, paths=(), **more)  # type: ignore[arg-type]


def test_settings_go_before_code_and_code_before_defaults() -> None:
    code = CodeOptions(port=9000, drain_timeout=5.0, deployment="v1", breaker=False, memory_limit_mb=2)
    assert effective.port(settings(), CodeOptions()) == 8081
    assert effective.port(settings(dev=True), CodeOptions()) == 0
    assert effective.port(settings(), code) == 9000
    assert effective.port(settings(port=0), code) == 0
    assert effective.drain_timeout(settings(), CodeOptions()) == 3600
    assert effective.drain_timeout(settings(drain_timeout=1.0), code) == 1
    assert effective.deployment(settings(), code) == "v1"
    assert effective.deployment(settings(deployment=""), code) == ""
    assert not effective.breaker(settings(), code).enabled
    assert effective.breaker(settings(breaker=BreakerSettings(samples=9)), code).samples == 9
    assert effective.memory(settings(memory_warn_mb=1), code) == (1024**2, 2 * 1024**2)


def test_a_message_is_cut_from_the_stream_however_it_arrives() -> None:
    data = encode(Loading(source="a")) + encode(Loading(source="b"))
    frames = Frames()
    bodies = [body for byte in data for body in frames.feed(bytes([byte]))]
    assert [from_nursery.decode(body) for body in bodies] == [Loading(source="a"), Loading(source="b")]
    with pytest.raises(ValueError, match="message of"):
        frames.feed(b"\xff\xff\xff\xff")


async def test_a_channel_passes_descriptors_waits_for_nobody_and_tells_when_the_other_side_is_gone() -> None:
    ours, theirs = socket.socketpair()
    heard: list[FromNursery] = []
    gone = asyncio.Event()
    channel = Channel(ours, from_nursery, heard.append, gone.set)
    reading, writing = os.pipe()
    channel.send(encode(Loading(source="with")), (writing,))
    os.close(writing)
    for _ in range(200):
        channel.send(encode(Loading(source="x" * 10_000)))
    assert channel.backlog
    data, descriptors, _, _ = socket.recv_fds(theirs, 1024, 4)
    assert from_nursery.decode(data[4 : 4 + int.from_bytes(data[:4], "big")]) == Loading(source="with")
    os.write(descriptors[0], b"!")
    assert os.read(reading, 1) == b"!"
    theirs.sendall(encode(Loading(source="back")))
    theirs.close()
    await gone.wait()
    assert heard == [Loading(source="back")]
    for descriptor in (reading, *descriptors):
        os.close(descriptor)


async def test_what_a_process_prints_is_told_line_by_line_and_no_line_is_endless() -> None:
    reading, writing = os.pipe()
    lines: list[bytes] = []
    reader = LineReader(reading, lines.append)
    os.write(writing, b"one\r\n\ntw")
    os.write(writing, b"o")
    os.close(writing)
    reader.close()
    assert lines == [b"one", b"two"]
    assert read_line(b'{"message": "hi"}', shard=1, generation=2).record == {"message": "hi"}
    assert read_line(b"{not json", shard=None, generation=1).record is None
    assert MAX_LINE < 10**6


def test_a_renewed_token_says_the_same_for_another_hour_even_when_it_had_run_out() -> None:
    old = mint(KEY, identity="agent-1", kind="agent", video=VideoGrant(room_join=True, room="a"), ttl=60, now=1000.0)
    claims = verify(renewed(old, KEY, 90_000.0), (KEY,), now=90_000.0).claims
    assert (claims.identity, claims.kind, claims.expires_at) == ("agent-1", "agent", 93_600)
    assert claims.video
    assert claims.video.room == "a"
    other = mint(ApiKey(key="other", secret="else"), identity="x")
    assert renewed(other, KEY, 0.0) == other


def test_a_worker_registers_with_what_its_agent_may_do_and_tells_when_it_is_full() -> None:
    terms = Terms(permissions=Permissions(can_publish=False, hidden=True), version="1.8.9", deployment="v1")
    message = registration(Post(dispatch="clerk", job_type=1), terms).register
    assert (message.agent_name, message.type, message.deployment) == ("clerk", agent.JT_PUBLISHER, "v1")
    assert message.allowed_permissions.hidden
    assert message.allowed_permissions.agent
    assert not message.allowed_permissions.can_publish
    assert worker_status(Load(share=0.5, jobs=2)).update_worker.status == agent.WS_AVAILABLE
    draining = worker_status(Load(draining=True)).update_worker
    assert (draining.status, draining.draining) == (agent.WS_FULL, True)
    assert agent_url("https://lk.example/base/") == "wss://lk.example/base/agent"


def test_a_lost_server_is_tried_at_once_then_less_and_less_often() -> None:
    assert backoff(0) == 0
    assert 0.1 < backoff(1) <= 0.25
    assert 5 <= backoff(10) <= 10
    assert 5 <= backoff(1000) <= 10


def test_a_nursery_gets_the_servers_address_and_key_and_no_proxy_in_its_way() -> None:
    there = nursery_environment({"HTTPS_PROXY": "http://proxy", "HOME": "/h"}, settings(observability="http://o"), "v1")
    assert there["LIVEKIT_URL"] == "ws://there"
    assert there["LIVEKIT_API_SECRET"] == "secret"
    assert there["LIVEKIT_OBSERVABILITY_URL"] == "http://o"
    assert there["LIVEKIT_AGENT_DEPLOYMENT"] == "v1"
    assert "HTTPS_PROXY" not in there
    assert "127.0.0.1" in there["no_proxy"]


def test_touching_a_file_changes_nothing_and_saving_it_does(tmp_path: Path) -> None:
    contents = Contents()
    file = tmp_path / "a.py"
    file.write_text("1")
    before = contents.of([tmp_path], [])
    os.utime(file, (1, 1))
    assert contents.of([tmp_path], []) == before
    file.write_text("2")
    assert contents.of([tmp_path], []) != before
    file.unlink()
    assert contents.of([tmp_path, tmp_path / "gone"], [str(file)]) == {}


def test_the_supervisor_imports_nothing_that_runs_agents() -> None:
    code = (
        "import sys, greenroom.pool.supervisor;"
        "heavy = {'livekit.agents', 'livekit.rtc', 'livekit.api', 'aiohttp', 'numpy', 'starlette', 'uvicorn'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
