"""The commands of ``greenroom route`` as the command-line library sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from greenroom.cli._options import RouteOptions

route = App(name="route", help="Find out which agent a call would go to.")


@route.command
def explain(
    *paths: Path,
    url: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[RouteOptions | None, Parameter(name="*")] = None,
) -> int:
    """Tell which agent a call would go to, and each rule that was tried; the exit status is 1 if it is refused.

    Parameters
    ----------
    paths
        Agents' files, and directories that hold agents: they are loaded, no call is taken.
    url
        Ask a pool that runs instead, at its HTTP port: http://127.0.0.1:8081.
    as_json
        Print a JSON object.
    """
    from greenroom.cli.route import explain_command  # noqa: PLC0415

    return explain_command(paths, url, options or RouteOptions(), as_json=as_json)
