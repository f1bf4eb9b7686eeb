"""The pool runs on the livekit-agents it is made for, and says what is wrong with any other."""

from __future__ import annotations

from importlib import metadata

import pytest
from livekit.agents import AgentServer
from livekit.agents.ipc import job_proc_lazy_main, proto

from greenroom.errors import GreenroomError, MissingExtraError
from greenroom.pool.shard._upstream import probe

pytestmark = pytest.mark.unit


def test_the_installed_version_has_everything() -> None:
    assert probe() == {name: metadata.version(name) for name in ("livekit-agents", "livekit")}


@pytest.mark.parametrize("version", ["1.8.8", "1.9.0", "1.10.0rc1", "2.0"])
def test_another_version_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    with pytest.raises(GreenroomError, match=r"made for 1\.8\.9 up to before 1\.9.*pip install") as raised:
        probe()
    assert version in raised.value.message


@pytest.mark.parametrize("version", ["1.8.9", "1.8.12", "1.8.10.dev3+local"])
def test_later_patches_are_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    assert probe()["livekit-agents"] == version


def test_a_missing_package_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingExtraError, match="agents"):
        probe()


def test_what_is_no_longer_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(proto, "ShuttingDown")
    monkeypatch.setattr(job_proc_lazy_main._JobProc, "initialize", lambda self, request: None)
    monkeypatch.setattr(AgentServer, "__init__", lambda self: None)
    with pytest.raises(GreenroomError) as raised:
        probe()
    missing = raised.value.context["missing"]
    assert isinstance(missing, list)
    assert "livekit.agents.ipc.proto.ShuttingDown" in missing
    assert "livekit.agents.ipc.job_proc_lazy_main._JobProc.initialize(client=)" in missing
    assert "livekit.agents.worker.AgentServer.__init__: self._entrypoint_fnc" in missing
