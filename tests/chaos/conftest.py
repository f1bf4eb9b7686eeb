"""A ``greenroom server`` process under attack, and two participants who must not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from livekit import rtc

from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from support.offers import chromium_first

KEY = ApiKey(key="chaoskey", secret="chaossecret-chaossecret-chaossecret")
PATIENCE = 30.0
# Twice what the server needs at rest; a join request that unpacks to 100 MB would not fit.
MEMORY_BYTES = 200 * 1024 * 1024


class Target:
    """The server process."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.http_url = url
        self.ws_url = url.replace("http", "ws", 1)
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))
        self._log = log

    def token(self, room: str, identity: str) -> str:
        return mint(KEY, identity=identity, video=VideoGrant(room_join=True, room=room))

    def agent_token(self) -> str:
        return mint(KEY, video=VideoGrant(agent=True))

    def admin_token(self) -> str:
        grant = VideoGrant(room_create=True, room_list=True, room_admin=True, room="admin", room_record=True)
        return mint(KEY, identity="admin", video=grant)

    def peak_memory(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process has no memory figure")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def assert_unharmed(self) -> None:
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()[-4000:]}"
        log = self.log()
        for symptom in ("Traceback", "panicked", "Fatal Python error", "never retrieved", "ERROR"):
            assert symptom not in log, log[max(0, log.index(symptom) - 1000) :][:6000]
        assert self.peak_memory() < MEMORY_BYTES


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log"
    program = os.environ.get("GREENROOM_BIN") or str(Path(sys.executable).with_name("greenroom"))
    command = [program, "server", "--port", "0", "--rtc-port", "0"]
    command += ["--data-dir", str(folder / "data"), "--key", f"{KEY.key}:{KEY.secret}"]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("ready http://"), log.read_text()
        yield Target(process, line.removeprefix("ready "), log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    assert process.returncode == 0, log.read_text()[-4000:]
    assert "Traceback" not in log.read_text(errors="replace")


class Witnesses:
    """Two participants with the official SDK who hand a numbered message back and forth without pause."""

    ROOM = "undisturbed"

    def __init__(self, target: Target) -> None:
        self._target = target
        self._rooms = (rtc.Room(), rtc.Room())
        self._arrived: tuple[asyncio.Queue[bytes], ...] = (asyncio.Queue(), asyncio.Queue())
        self._talking: asyncio.Task[None] | None = None
        self._leaving = False
        self.exchanged = 0
        self.disturbances: list[str] = []

    async def enter(self) -> None:
        for number, room in enumerate(self._rooms):
            self._listen(number, room)
            await room.connect(self._target.ws_url, self._target.token(self.ROOM, f"witness-{number}"))
        self._talking = asyncio.create_task(self._talk())

    def _listen(self, number: int, room: rtc.Room) -> None:
        @room.on("data_received")
        def on_data(packet: rtc.DataPacket) -> None:
            if packet.topic == "witness":
                self._arrived[number].put_nowait(packet.data)

        for event in ("reconnecting", "reconnected", "disconnected"):
            room.on(event, lambda *_, event=event: self.disturbances.append(f"witness-{number} {event}"))

    async def _talk(self) -> None:
        while not self._leaving:
            for speaker, listener in ((0, 1), (1, 0)):
                message = f"{self.exchanged}".encode()
                await self._rooms[speaker].local_participant.publish_data(message, topic="witness")
                async with asyncio.timeout(PATIENCE):
                    heard = await self._arrived[listener].get()
                if heard != message:
                    self.disturbances.append(f"heard {heard!r} instead of {message!r}")
                self.exchanged += 1
            await asyncio.sleep(0.005)

    async def exchange(self, more: int) -> None:
        """Return when so many more messages have been exchanged."""
        goal = self.exchanged + more
        deadline = time.monotonic() + PATIENCE
        while self.exchanged < goal and time.monotonic() < deadline:
            assert self._talking is not None
            if self._talking.done():
                self._talking.result()
            await asyncio.sleep(0.01)
        assert self.exchanged >= goal

    async def leave(self) -> None:
        if self._talking is not None:
            self._leaving = True
            await asyncio.gather(self._talking, return_exceptions=True)
        for room in self._rooms:
            await room.disconnect()


@pytest.fixture
async def witnesses(target: Target) -> AsyncIterator[Witnesses]:
    """The two, talking before, during and after the attack; checked when the test is over."""
    witnesses = Witnesses(target)
    await witnesses.enter()
    try:
        await witnesses.exchange(4)
        before = witnesses.exchanged
        yield witnesses
        assert witnesses.exchanged > before, "nothing was exchanged during the attack"
        await witnesses.exchange(20)
        assert witnesses.disturbances == []
        target.assert_unharmed()
    finally:
        await witnesses.leave()


@pytest.fixture(scope="session")
def first_offer() -> str:
    """The first offer of a LiveKit client in Chromium."""
    return chromium_first()
