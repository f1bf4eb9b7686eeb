"""New code comes into service however it is saved, old calls end on the old, and what does not load changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.pool_supervised import PoolStage, holder, pool_stage

pytestmark = pytest.mark.conformance


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)


def rename_over(file: Path, text: str) -> None:
    draft = file.with_suffix(".py.tmp")
    draft.write_text(text)
    draft.replace(file)


def delete_and_create(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def move_away_and_create(file: Path, text: str) -> None:
    backup = file.with_name(file.name + "~")
    file.rename(backup)
    file.write_text(text)
    backup.unlink()


def swap_directory(file: Path, text: str) -> None:
    """Replace the directory's content, as a checkout does."""
    other = file.parent.with_name(file.parent.name + ".new")
    shutil.copytree(file.parent, other)
    (other / file.name).write_text(text)
    for each in other.iterdir():
        if each.is_file():
            os.replace(each, file.parent / each.name)  # noqa: PTH105 - as git does
    shutil.rmtree(other)


async def saved(stage: PoolStage, generation: int) -> None:
    """Wait until another generation is in service."""
    await stage.until(lambda now: now.generation > generation)


async def test_every_style_of_saving_brings_the_new_code_into_service(tmp_path: Path) -> None:
    place = tmp_path / "agents"
    place.mkdir()
    file = place / "clerk.py"
    file.write_text(holder(version="v0"))
    styles: list[Callable[[Path, str], None]] = [
        rewrite,
        rename_over,
        delete_and_create,
        move_away_and_create,
        swap_directory,
        rewrite,
    ]
    async with pool_stage(place, watch=True) as stage:
        for number, style in enumerate(styles, 1):
            before = stage.pool.snapshot().generation
            style(file, holder(version=f"v{number}"))
            await saved(stage, before)
            stage.dispatch(f"room-{number}")
            await stage.printed(f"v{number}")
        # Those of before hold their calls until these have ended, and go then.
        for number in range(1, len(styles) + 1):
            await stage.hang_up(f"room-{number}")
        newest = stage.pool.snapshot().generation
        await stage.until(lambda now: {shard.generation for shard in now.shards} == {newest})
        await stage.served(lambda: [each.number for each in stage.pool._generations.all()] == [newest])


async def test_a_helper_module_counts_and_calls_of_before_go_on_with_the_old_code(tmp_path: Path) -> None:
    helper = tmp_path / "words.py"
    helper.write_text('WORD = "first"\n')
    source = "import words\n" + holder().replace('print("begins"', 'print(words.WORD, "begins"')
    (tmp_path / "clerk.py").write_text(source)
    async with pool_stage(tmp_path / "clerk.py", watch=True) as stage:
        old = await stage.call("old")
        await stage.printed("first begins")
        rename_over(helper, 'WORD = "second"\n')
        await saved(stage, 1)
        await stage.call("new")
        await stage.printed("second begins")
        now = stage.pool.snapshot()
        assert old.job_id in {each.job_id for each in now.sessions}
        assert {each.generation for each in now.shards} == {1, 2}
        await stage.hang_up("old")
        await stage.until(lambda now: {each.generation for each in now.shards} == {2})


async def test_what_does_not_load_leaves_the_old_in_service_and_says_where(tmp_path: Path) -> None:
    clerk, nurse = tmp_path / "clerk.py", tmp_path / "nurse.py"
    clerk.write_text(holder("clerk"))
    nurse.write_text(holder("nurse"))
    async with pool_stage(tmp_path, watch=True) as stage:
        clerk.write_text(holder("clerk") + "\n1 / 0\n")
        line = len(clerk.read_text().splitlines())
        now = await stage.until(lambda now: now if any(each.detail for each in now.agents) else None)
        by_name = {each.name: each for each in now.agents}
        assert f"clerk.py:{line}" in by_name["clerk"].detail
        assert not by_name["nurse"].detail
        assert (await stage.call("one", "clerk")).agent == "clerk"
        assert (await stage.call("two", "nurse")).agent == "nurse"

        clerk.write_text(holder("clerk", "mended"))
        await stage.until(lambda now: not any(each.detail for each in now.agents))
        stage.dispatch("three", "clerk")
        await stage.printed("mended")


async def test_agents_come_and_go_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder("clerk"))
    async with pool_stage(tmp_path, watch=True) as stage:
        (tmp_path / "nurse.py").write_text(holder("nurse"))
        await stage.served(lambda: {each.agent_name for each in stage.workers()} == {"clerk", "nurse"})
        await stage.call("lobby", "nurse")
        (tmp_path / "nurse.py").unlink()
        await stage.until(lambda now: [each.name for each in now.agents] == ["clerk"])
        # Its call goes on, and LiveKit knows of it until it has ended.
        assert [each.agent for each in stage.pool.snapshot().sessions] == ["nurse"]
        await stage.served(
            lambda: {each.status for each in stage.workers() if each.agent_name == "nurse"} == {"draining"}
        )
        await stage.hang_up("lobby")
        await stage.served(lambda: {each.agent_name for each in stage.workers()} == {"clerk"})


async def test_an_agent_that_may_do_otherwise_is_registered_anew_and_its_calls_go_on(tmp_path: Path) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder())
    async with pool_stage(file) as stage:
        call = await stage.call("lobby")
        (before,) = stage.workers()
        hidden = "AgentServer(permissions=agents.WorkerPermissions(hidden=True))"
        file.write_text("from livekit import agents\n" + holder().replace("AgentServer()", hidden))
        await stage.pool.reload()
        await stage.served(lambda: sorted(worker.status for worker in stage.workers()) == ["available", "draining"])
        assert {worker.id: worker.status for worker in stage.workers()}[before.id] == "draining"
        assert [each.job_id for each in stage.pool.snapshot().sessions] == [call.job_id]
        await stage.hang_up("lobby")
        await stage.served(lambda: [worker.status for worker in stage.workers()] == ["available"])


async def test_with_swap_calls_go_over_to_the_new_code(tmp_path: Path) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder(version="v1"))
    async with pool_stage(file, watch=True, swap=True) as stage:
        call = await stage.call("lobby")
        await stage.printed("v1")
        rename_over(file, holder(version="v2"))
        line = await stage.printed("v2")
        assert line.generation == 2
        now = stage.pool.snapshot()
        assert [each.job_id for each in now.sessions] == [call.job_id]
        assert now.ended == {"moved": 1}
        await stage.until(lambda now: {each.generation for each in now.shards} == {2})


async def test_a_file_that_ends_or_hangs_what_loads_it_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder("clerk"))
    (tmp_path / "killer.py").write_text(holder("killer") + "\nimport os\nos.kill(os.getpid(), 11)\n")
    (tmp_path / "sleeper.py").write_text(holder("sleeper") + "\nimport time\ntime.sleep(600)\n")
    async with pool_stage(tmp_path, load_timeout=8.0) as stage:
        by_name = {each.name: each for each in stage.pool.snapshot().agents}
        assert by_name["clerk"].state == "ready"
        assert "SIGSEGV" in by_name["killer"].detail
        assert "8 s" in by_name["sleeper"].detail
        assert {each.agent_name for each in stage.workers()} == {"clerk"}
