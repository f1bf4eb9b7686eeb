"""``greenroom dev``: server, page and agents in one program."""

from __future__ import annotations

from pathlib import Path

from greenroom.cli._logs import configure_logging
from greenroom.cli._options import ServerOptions
from greenroom.cli._run import announce_ready, run
from greenroom.cli._settings import server_config
from greenroom.dev import DevConfig, run_dev


def dev_command(path: Path | None, options: ServerOptions, *, reload: bool, open_page: bool) -> int:
    """Run until told to stop. Raises :class:`GreenroomError`."""
    configure_logging(verbose=options.verbose)
    config = DevConfig(
        server=server_config(options),
        path=path,
        reload=reload,
        open_page=open_page,
        log_level="DEBUG" if options.verbose else "INFO",
    )
    return run(run_dev(config, announce_ready))
