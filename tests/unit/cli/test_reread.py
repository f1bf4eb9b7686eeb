"""A pool that runs is told what is saved in its configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.cli._options import PoolOptions, PoolWays
from greenroom.cli._pool_settings import pool_configuration
from greenroom.cli._reread import Reread
from greenroom.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "greenroom.toml"
    path.write_text("[pool]\nmax_sessions = 5\n")
    return path


def reread(**options: object) -> Reread:
    given = PoolOptions(**options)
    said = pool_configuration([Path("agents")], given, PoolWays(), {})
    return Reread(said, [Path("agents")], given, PoolWays(), watch=None)


def test_each_save_is_told_once(file: Path) -> None:
    told = reread()
    assert told() is None
    file.write_text("[pool]\nmax_sessions = 10\n[pool.agents.desk]\nmax_sessions = 2\n")
    settings = told()
    assert settings is not None
    assert settings.max_sessions == 10
    assert settings.agents["desk"].max_sessions == 2
    assert settings.paths == (Path("agents"),)
    assert told() is None


def test_an_option_still_goes_before_the_file(file: Path) -> None:
    told = reread(max_sessions=3)
    file.write_text("[pool]\nmax_sessions = 10\n")
    settings = told()
    assert settings is not None
    assert settings.max_sessions == 3


def test_a_broken_save_is_told_once_and_the_next_one_counts(file: Path) -> None:
    told = reread()
    file.write_text("[pool]\nmax_sessions = 0\n")
    with pytest.raises(ConfigError):
        told()
    assert told() is None
    file.write_text("[pool]\nmax_sessions = 100\n")
    settings = told()
    assert settings is not None
    assert settings.max_sessions == 100


def test_a_file_that_is_gone_changes_nothing(file: Path) -> None:
    told = reread()
    file.unlink()
    assert told() is None


def test_without_a_file_there_is_nothing_to_read_again(file: Path) -> None:
    file.unlink()
    told = reread()
    file.write_text("[pool]\nmax_sessions = 10\n")
    assert told() is None
