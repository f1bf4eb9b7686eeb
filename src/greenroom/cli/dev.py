"""``greenroom dev``: server, page and agents in one program."""

from __future__ import annotations

from pathlib import Path

from greenroom.cli._costs import cost_so_far
from greenroom.cli._options import DevOptions
from greenroom.cli._pool_settings import dev_pool_settings
from greenroom.cli._run import announce_ready, begin_log, run
from greenroom.cli._schema import DevSection, LogSection
from greenroom.cli._settings import record_of, server_configuration, server_of
from greenroom.cli.agents import tell
from greenroom.dev import DevConfig, run_dev


def dev_command(path: Path | None, options: DevOptions, *, reload: bool | None, open_page: bool | None) -> int:
    """Run until told to stop. Raises :class:`GreenroomError`."""
    flags = {
        "dev.path": ("PATH", None if path is None else str(path)),
        "dev.reload": ("--reload", reload),
        "dev.open": ("--open", open_page),
    }
    said = server_configuration(options, more=flags)
    begin_log(said)
    section = said.section("dev", DevSection)
    config = DevConfig(
        server=server_of(said, options),
        path=Path(section.path) if section.path else None,
        reload=section.reload,
        open_page=section.open,
        log_level=said.section("log", LogSection).level,
        record=record_of(said),
        pool=dev_pool_settings(said),
    )
    return run(run_dev(config, announce_ready, on_output=tell, cost_of=cost_so_far))
