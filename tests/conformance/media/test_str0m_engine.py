"""What only an engine with sockets and threads can get wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.errors import ConfigError, PortInUseError

pytestmark = pytest.mark.conformance


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.fixture
async def engine():
    engine = Str0mEngine(EngineConfig())
    yield engine
    await engine.stop()


async def test_the_port_is_known_from_start_to_stop(engine):
    assert engine.port == 0
    await engine.start(lambda batch: None)
    assert 0 < engine.port < 65536


async def test_a_port_in_use_is_a_clear_error():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"UDP port {port} on 127.0.0.1 is already in use"):
            await Str0mEngine(EngineConfig(port=port)).start(lambda batch: None)


@pytest.mark.parametrize("bind", ["not an address", "203.0.113.7"])
async def test_an_address_that_is_not_ours_is_a_clear_error(bind):
    with pytest.raises(ConfigError):
        await Str0mEngine(EngineConfig(bind=bind)).start(lambda batch: None)


async def test_a_wildcard_puts_real_addresses_into_candidates(first_offer):
    engine = Str0mEngine(EngineConfig(bind="0.0.0.0"))
    await engine.start(lambda batch: None)
    engine.create_transport(1)
    reply = await engine.accept_offer(1, first_offer)
    await engine.stop()
    assert " typ host" in reply.sdp
    assert not [line for line in reply.sdp.split("\r\n") if line.startswith("a=candidate:") and " 0.0.0.0 " in line]


async def test_advertised_addresses_are_the_only_candidates(first_offer):
    engine = Str0mEngine(EngineConfig(bind="0.0.0.0", addresses=("192.0.2.1",)))
    await engine.start(lambda batch: None)
    engine.create_transport(1)
    reply = await engine.accept_offer(1, first_offer)
    await engine.stop()
    lines = {line.split()[4] for line in reply.sdp.split("\r\n") if line.startswith("a=candidate:")}
    assert lines == {"192.0.2.1"}


async def test_stopping_joins_every_thread_and_frees_the_port(engine):
    before = threads()
    await engine.start(lambda batch: None)
    port = engine.port
    assert threads() > before
    await engine.stop()
    assert threads() == before
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", port))


async def test_an_engine_may_be_started_again(engine, first_offer):
    for _ in range(2):
        await engine.start(lambda batch: None)
        engine.create_transport(1)
        assert (await engine.accept_offer(1, first_offer)).sections
        await engine.stop()


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit(3)", "raise KeyboardInterrupt", "engine = None"],
    ids=["returns", "exits", "is interrupted", "drops it"],
)
def test_an_engine_left_running_does_not_hold_or_crash_the_interpreter(ending, first_offer, tmp_path):
    offer = tmp_path / "offer.sdp"
    offer.write_bytes(first_offer.encode())
    program = textwrap.dedent(f"""
        import asyncio, pathlib, sys
        from greenroom._media import EngineConfig, Str0mEngine

        async def main():
            engine = Str0mEngine(EngineConfig())
            await engine.start(lambda batch: None)
            for transport in range(20):
                engine.create_transport(transport)
                await engine.accept_offer(transport, pathlib.Path({str(offer)!r}).read_bytes().decode())
            print("left running", flush=True)
            {ending or "pass"}

        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "left running\n"
    assert done.returncode == {"sys.exit(3)": 3, "raise KeyboardInterrupt": -2}.get(ending, 0), done.stderr
    assert "panick" not in done.stderr
    assert "Fatal Python error" not in done.stderr


def test_importing_the_media_package_does_not_load_the_native_core():
    program = (
        "import sys, greenroom._media; print([name for name in sys.modules if name.startswith('greenroom._media.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['greenroom._media._engine']"
