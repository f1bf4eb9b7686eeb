"""The commands of ``greenroom config`` as the command-line library sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

config = App(name="config", help="Show, check and describe the configuration.")


@config.command
def show(
    *,
    everything: Annotated[bool, Parameter(name="--all")] = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    file: Annotated[Path | None, Parameter(name="--config")] = None,
) -> int:
    """Print what is in force and where it comes from. Secrets are masked.

    Parameters
    ----------
    everything
        Also what is as it is by default.
    as_json
        Print a JSON object: each setting with its value and its origin.
    file
        Configuration file; greenroom.toml here when it exists. Environment: GREENROOM_CONFIG.
    """
    from greenroom.cli.config import show_command  # noqa: PLC0415

    return show_command(file, everything=everything, as_json=as_json)


@config.command
def check(file: Path | None = None, /) -> int:
    """Read a configuration file and the environment, and say what is wrong with them.

    Parameters
    ----------
    file
        The file; by default the one that the other commands would read.
    """
    from greenroom.cli.config import check_command  # noqa: PLC0415

    return check_command(file)


@config.command
def schema() -> int:
    """Print the JSON Schema of the configuration file, for editors."""
    from greenroom.cli.config import schema_command  # noqa: PLC0415

    return schema_command()
