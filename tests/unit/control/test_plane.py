"""The control plane's directory."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from greenroom.config import ApiKey
from greenroom.control import Access, PlaneSettings, open_plane
from greenroom.errors import ConfigError

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")


async def test_what_was_said_is_for_its_owners_eyes_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_plane("ws://127.0.0.1:1", (KEY,), Access(keys=(KEY,)), PlaneSettings(data_dir=data)) as plane:
        await plane.log.blobs.put_bytes(b"a recording")
        files = [file for file in data.rglob("*.db*") if file.is_file()]
        assert len(files) > 3
        assert [stat.S_IMODE(file.stat().st_mode) for file in (data, *files)] == [0o700, *[0o600] * len(files)]


async def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Cannot write to"):
        async with open_plane(
            "ws://127.0.0.1:1", (KEY,), Access(keys=(KEY,)), PlaneSettings(data_dir=tmp_path / "file" / "data")
        ):
            pass
