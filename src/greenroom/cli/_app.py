"""The commands as the command-line library sees them. What they do is imported when they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from greenroom import __version__
from greenroom.cli._config_app import config
from greenroom.cli._log_app import log
from greenroom.cli._options import (
    ApiOptions,
    CallOptions,
    ConsoleOptions,
    ControlOptions,
    DevOptions,
    KeyOptions,
    PoolOptions,
    PoolWays,
    ServerOptions,
    SessionsRequest,
    SoundOptions,
    TopAsked,
)
from greenroom.cli._plugins_app import plugins
from greenroom.cli._route_app import route
from greenroom.errors import ConfigError

_ABOUT = "Self-hosted operations for LiveKit agents."

app = App(
    name="greenroom",
    help=_ABOUT,
    version=__version__,
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    help_format="markdown",
)


@app.command
def dev(
    path: Path | None = None,
    /,
    *,
    reload: Annotated[bool | None, Parameter(negative="--no-reload")] = None,
    open_page: Annotated[bool | None, Parameter(name="--open")] = None,
    options: Annotated[DevOptions | None, Parameter(name="*")] = None,
) -> int:
    """Run the embedded server, the page and your agents; restart an agent when its file is saved.

    Parameters
    ----------
    path
        An agent's file, or a directory that holds agents. Without it the packaged example runs.
    reload
        Restart agents when their files are saved (default), or not.
    open_page
        Open the page in a browser.
    """
    from greenroom.cli.dev import dev_command  # noqa: PLC0415

    return dev_command(path, options or DevOptions(), reload=reload, open_page=open_page)


@app.command
def server(*, options: Annotated[ServerOptions | None, Parameter(name="*")] = None) -> int:
    """Run the embedded LiveKit-compatible server alone."""
    from greenroom.cli.server import run_server  # noqa: PLC0415

    return run_server(options or ServerOptions())


@app.command
def control(
    *,
    recording: Annotated[bool | None, Parameter(negative="--no-recording")] = None,
    options: Annotated[ControlOptions | None, Parameter(name="*")] = None,
) -> int:
    """Keep the record of every call beside any LiveKit server, and serve the page and the API for it.

    Parameters
    ----------
    recording
        Take what agents upload of their sessions (default), or tell them to stop.
    """
    from greenroom.cli.control import control_command  # noqa: PLC0415

    return control_command(options or ControlOptions(), recording=recording)


@app.command(alias="start")
def agents(
    *paths: Path,
    watch: Annotated[bool | None, Parameter(negative="--no-watch")] = None,
    ways: Annotated[PoolWays | None, Parameter(name="*")] = None,
    options: Annotated[PoolOptions | None, Parameter(name="*")] = None,
) -> int:
    """Run agents for any LiveKit server: many calls in few processes, deployed without cutting one.

    Parameters
    ----------
    paths
        Agents' files, and directories that hold agents.
    watch
        Bring a file into service when it is saved; on with --dev, else off.
    """
    from greenroom.cli.agents import agents_command  # noqa: PLC0415

    return agents_command(paths, options or PoolOptions(), ways or PoolWays(), watch=watch)


@app.command
def list_(
    *paths: Path,
    resources: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    as_plain: Annotated[bool, Parameter(name="--plain")] = False,
) -> int:
    """List the agents in files and directories; the exit status is 1 when there is none.

    Parameters
    ----------
    paths
        Agents' files, and directories that hold agents; here by default. They are loaded, no call is taken.
    resources
        Estimate what their calls take of a machine.
    as_json
        Print a JSON object.
    as_plain
        Print lines for other programs: no head, a tab between two columns.
    """
    from greenroom.cli.listing import list_command  # noqa: PLC0415

    return list_command(paths, resources=resources, as_json=as_json, as_plain=as_plain)


@app.command
def login(
    *,
    role: str = "admin",
    name: str | None = None,
    token: bool = False,
    ttl: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[CallOptions | None, Parameter(name="*")] = None,
) -> int:
    """Print an address that logs a browser in, once, or a token for a program.

    Parameters
    ----------
    role
        What it may: read, operate (act on live calls too) or admin (everything).
    name
        Who it is, for the log; your user name by default.
    token
        Print a bearer token instead.
    ttl
        How long the token is valid: 12h, 30d (the default).
    as_json
        Print a JSON object.
    """
    from greenroom.cli.login import login_command  # noqa: PLC0415

    return login_command(options or CallOptions(), role=role, name=name, token=token, ttl=ttl, as_json=as_json)


@app.command
def doctor(
    *,
    agent: str | None = None,
    timeout: float = 20.0,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[CallOptions | None, Parameter(name="*")] = None,
) -> int:
    """Find out whether a LiveKit server is in order, from here, and whether its agents answer.

    Parameters
    ----------
    agent
        The agent to call. Without it those that the server's page lists.
    timeout
        Seconds for an agent to come, and again to answer.
    as_json
        Print one JSON object.
    """
    from greenroom.cli.doctor import DoctorRequest, doctor_command  # noqa: PLC0415

    return doctor_command(options or CallOptions(), DoctorRequest(agent=agent, timeout=timeout), as_json=as_json)


@app.command(alias="console")
def talk(
    agent: str | None = None,
    /,
    *,
    room: str | None = None,
    name: str | None = None,
    metadata: str | None = None,
    timeout: float = 30.0,
    sound: Annotated[SoundOptions | None, Parameter(name="*")] = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    console: Annotated[ConsoleOptions | None, Parameter(name="*")] = None,
    options: Annotated[CallOptions | None, Parameter(name="*")] = None,
) -> int:
    """Call an agent from the terminal, in text or by voice.

    Parameters
    ----------
    agent
        The agent to call, as NAME or NAME=METADATA for its job. Without it those that join every room, or the
        only one there is.
    room
        The room to call in; a new one by default.
    name
        Your display name.
    metadata
        Your metadata.
    timeout
        Seconds to wait for the agent, and for its answers to lines from a pipe.
    as_json
        Print a JSON object per event; lines are read as from a pipe.
    """
    sound = sound or SoundOptions()
    if console is not None and console.connect_addr is not None:
        from greenroom.cli.console import console_command  # noqa: PLC0415

        return console_command(agent, console.connect_addr, record=console.record)
    from greenroom.cli.talk import TalkRequest, list_devices_command, talk_command  # noqa: PLC0415

    if sound.list_devices:
        return list_devices_command()
    request = TalkRequest(
        agent=agent or "",
        room=room,
        name=name,
        metadata=metadata,
        timeout=timeout,
        voice=sound.voice,
        microphone=sound.microphone,
        speaker=sound.speaker,
    )
    return talk_command(options or CallOptions(), request, as_json=as_json)


@app.command
def token(
    *,
    identity: str | None = None,
    room: str | None = None,
    name: str | None = None,
    metadata: str | None = None,
    attribute: list[str] | None = None,
    agent: list[str] | None = None,
    grant: list[str] | None = None,
    ttl: str = "6h",
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[KeyOptions | None, Parameter(name="*")] = None,
) -> int:
    """Print a token for a room or for the server's API.

    Parameters
    ----------
    identity
        Who joins; made up when the token joins a room and none is given.
    room
        The room to join. Without it the token needs a --grant.
    name
        Display name.
    metadata
        The participant's metadata.
    attribute
        A participant attribute as NAME=VALUE; repeatable.
    agent
        An agent to send to the room when it is created, as NAME or NAME=METADATA; repeatable.
    grant
        A LiveKit grant such as roomAdmin, canPublish=false or sip.call; repeatable.
    ttl
        How long it is valid: 90, 15m, 6h, 1d.
    as_json
        Print a JSON object with token, identity, room and expires_at.
    """
    from greenroom.cli.token import TokenRequest, token_command  # noqa: PLC0415

    request = TokenRequest(
        identity=identity,
        room=room,
        name=name,
        metadata=metadata,
        attributes=attribute or (),
        agents=agent or (),
        grants=grant or (),
        ttl=ttl,
    )
    return token_command(options or KeyOptions(), request, as_json=as_json)


@app.command
def sessions(
    *,
    request: Annotated[SessionsRequest | None, Parameter(name="*")] = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[ApiOptions | None, Parameter(name="*")] = None,
) -> int:
    """List the calls, the latest first.

    Parameters
    ----------
    as_json
        Print a JSON object with sessions and next.
    """
    from greenroom.cli.sessions import sessions_command  # noqa: PLC0415

    return sessions_command(options or ApiOptions(), request or SessionsRequest(), as_json=as_json)


@app.command
def session(
    session_id: str,
    /,
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"))] = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[ApiOptions | None, Parameter(name="*")] = None,
) -> int:
    """Show one call: what was said and done, and where the time of each turn went.

    Parameters
    ----------
    session_id
        Its id, as much of its beginning as no other has, or last.
    follow
        Go on with what comes, until the call has ended.
    as_json
        Print a JSON object; with --follow another one after each change.
    """
    from greenroom.cli.session import session_command  # noqa: PLC0415

    return session_command(options or ApiOptions(), session_id, follow=follow, as_json=as_json)


@app.command
def export(
    session_id: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[ApiOptions | None, Parameter(name="*")] = None,
) -> int:
    """Write one call to an archive: transcript, audio, trace, and the log's proof, which is checked.

    Parameters
    ----------
    session_id
        Its id, as much of its beginning as no other has, or last.
    output
        The file, which must not be there yet, or a directory; SESSION_ID.tar.gz here by default.
    as_json
        Print a JSON object.
    """
    from greenroom.cli.export import export_command  # noqa: PLC0415

    return export_command(options or ApiOptions(), session_id, output, as_json=as_json)


@app.command
def why(
    room: str,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[ApiOptions | None, Parameter(name="*")] = None,
) -> int:
    """Say why a room has no agent, why it is silent or why it is gone, with the events that show it.

    Parameters
    ----------
    room
        The room's name, whose latest room it is then; its sid; or the id of a session in it.
    as_json
        Print a JSON object.
    """
    from greenroom.cli.why import why_command  # noqa: PLC0415

    return why_command(options or ApiOptions(), room, as_json=as_json)


@app.command
def top(
    *,
    request: Annotated[TopAsked | None, Parameter(name="*")] = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    options: Annotated[ApiOptions | None, Parameter(name="*")] = None,
) -> int:
    """Show the fleet as it is: pools and their shards, workers and their load, calls and what they cost.

    Parameters
    ----------
    as_json
        Print a JSON object each time.
    """
    from greenroom.cli.top import TopRequest, top_command  # noqa: PLC0415

    asked = TopRequest(**asdict(request or TopAsked()), as_json=as_json)
    return top_command(options or ApiOptions(), asked)


@app.command
def logs(
    file: Path,
    /,
    *,
    session: str | None = None,
    agent: str | None = None,
    tenant: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Print those lines of a log in JSON that are about a session, an agent or a tenant.

    Parameters
    ----------
    file
        What was logged with --log-format json; - is the standard input.
    session
        The session's id.
    agent
        The agent's name.
    tenant
        The tenant.
    as_json
        Print the lines as they are.
    """
    from greenroom.cli.logs import logs_command  # noqa: PLC0415

    return logs_command(file, session=session, agent=agent, tenant=tenant, as_json=as_json)


app.command(log)
app.command(plugins)
app.command(config)
app.command(route)


def run_app(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status. Raises :class:`GreenroomError`."""
    try:
        status = app(list(arguments), print_error=False, exit_on_error=False)
    except CycloptsError as error:
        first = next((word for word in arguments if not word.startswith("-")), "")
        command = f" {first}" if f"{first}" in app else ""
        raise ConfigError(_sentence(error), fix=f"See: greenroom{command} --help") from None
    return status if isinstance(status, int) else 0


def _sentence(error: CycloptsError) -> str:
    return " ".join(str(error).split()).rstrip(".?")
