"""The commands of ``greenroom log`` as the command-line library sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from greenroom.cli._options import LogOptions

log = App(name="log", help="Verify, show and erase what stands in the event log.")


@log.command
def verify(
    stream: str | None = None,
    /,
    *,
    key_file: Path | None = None,
    tenant: str = "",
    blobs: Annotated[bool, Parameter(negative="--no-blobs")] = True,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[LogOptions | None, Parameter(name="*")] = None,
) -> int:
    """Walk the log and name what is not as it was written; the exit status is 1 if anything is.

    Parameters
    ----------
    stream
        Verify this stream's chain alone.
    key_file
        File with the key that checkpoints are signed with; their signatures are checked.
    tenant
        Whose stream it is.
    blobs
        Also read every recording and batch that an event names.
    as_json
        Print a JSON object.
    """
    from greenroom.cli.log import verify_command  # noqa: PLC0415

    return verify_command(
        options or LogOptions(), stream, key_file=key_file, tenant=tenant, blobs=blobs, as_json=as_json
    )


@log.command
def tail(
    *,
    after: int | None = None,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"))] = False,
    stream: list[str] | None = None,
    type_: Annotated[list[str] | None, Parameter(name="--type")] = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[LogOptions | None, Parameter(name="*")] = None,
) -> int:
    """Print the last events of the log, one to a line.

    Parameters
    ----------
    after
        Start after this position; 20 before the end by default.
    follow
        Go on with what comes.
    stream
        Only events of this stream; repeatable.
    type_
        Only events of this type; repeatable.
    as_json
        Print a JSON object to a line.
    """
    from greenroom.cli.log import tail_command  # noqa: PLC0415

    return tail_command(
        options or LogOptions(), after=after, follow=follow, streams=stream, types=type_, as_json=as_json
    )


@log.command
def erase(
    stream: str,
    /,
    *,
    reason: str,
    through: int | None = None,
    tenant: str = "",
    yes: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[LogOptions | None, Parameter(name="*")] = None,
) -> int:
    """Delete what was said in a stream, and its recordings; the chain of its events still verifies.

    Parameters
    ----------
    stream
        The stream to erase, as KIND:ID.
    reason
        Why; kept for ever, so name nobody in it.
    through
        Erase no later event than the one with this sequence number.
    tenant
        Whose stream it is.
    yes
        Do not ask.
    as_json
        Print a JSON object.
    """
    from greenroom.cli.log import erase_command  # noqa: PLC0415

    return erase_command(
        options or LogOptions(), stream, reason=reason, through=through, tenant=tenant, yes=yes, as_json=as_json
    )
