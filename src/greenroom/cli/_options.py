"""The options of the commands. What is not given stays ``None``: environment and file come next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(kw_only=True)
class KeyOptions:
    """Options of every command that holds an API key.

    Parameters
    ----------
    key
        An API key and its secret as KEY:SECRET; repeatable. On loopback devkey:secret is the default.
        Environment: GREENROOM_KEY, several separated by commas.
    config
        Configuration file, TOML or JSON; greenroom.toml here when it exists. The only place for what a key
        may touch. Environment: GREENROOM_CONFIG.
    """

    key: list[str] | None = None
    config: Path | None = None


@dataclass(kw_only=True)
class ServerOptions(KeyOptions):
    """Options of every command that serves.

    Parameters
    ----------
    bind
        Address to listen on; 127.0.0.1 by default. Environment: GREENROOM_BIND.
    port
        TCP port for HTTP and signalling; 7880 by default, 0 for any free one. Environment: GREENROOM_PORT.
    rtc_port
        UDP port for media and data; 7882 by default, 0 for any free one. Environment: GREENROOM_RTC_PORT.
    node_ip
        Address under which clients reach the UDP port, where it is not the machine's own; repeatable.
        Environment: GREENROOM_NODE_IP, several separated by commas.
    data_dir
        Directory for data; .greenroom by default. Environment: GREENROOM_DATA_DIR.
    observability_url
        Where agents upload what they record of their sessions; with it every job is recorded. greenroom dev takes
        the uploads itself. Environment: GREENROOM_OBSERVABILITY_URL.
    webhook
        URL to be told what happens in rooms, as LiveKit's webhooks; repeatable. Environment: GREENROOM_WEBHOOK,
        several separated by commas.
    webhook_allow_private
        Let webhooks go to addresses of private networks.
    verbose
        Log details.
    """

    bind: str | None = None
    port: int | None = None
    rtc_port: int | None = None
    node_ip: list[str] | None = None
    data_dir: Path | None = None
    observability_url: str | None = None
    webhook: list[str] | None = None
    webhook_allow_private: bool = False
    verbose: bool = False


@dataclass(kw_only=True)
class RecordOptions:
    """Options of every command that keeps the record of calls.

    Parameters
    ----------
    keep
        How long sessions are kept: 30d, 12h. For ever by default. Environment: GREENROOM_CONTROL_KEEP.
    log_key
        File with a key that the log's checkpoints are signed with. Environment: GREENROOM_CONTROL_LOG_KEY.
    """

    keep: str | None = None
    log_key: Path | None = None


@dataclass(kw_only=True)
class DevOptions(RecordOptions, ServerOptions):
    """Options of ``greenroom dev``."""


@dataclass(kw_only=True)
class CallOptions(KeyOptions):
    """Options of every command that calls a server.

    Parameters
    ----------
    url
        Address of the server; ws://127.0.0.1:7880 by default. Environment: LIVEKIT_URL. Its key may come from
        LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
    """

    url: str | None = None


@dataclass(kw_only=True)
class SoundOptions:
    """How a call is heard and spoken in.

    Parameters
    ----------
    voice
        Speak and listen; typed lines are said too. /mute or Ctrl-T turns the microphone off and on.
    microphone
        What is listened to: a device by number or part of its name, a WAV file that is said once the agent
        listens, or none. Implies --voice.
    speaker
        Where the agent is heard: a device, a WAV file to write, or none. Implies --voice.
    list_devices
        Print the microphones and loudspeakers of this machine, and end.
    """

    voice: bool = False
    microphone: str | None = None
    speaker: str | None = None
    list_devices: bool = False


@dataclass(kw_only=True)
class ConsoleOptions:
    """An agent for the console of LiveKit's CLI.

    Parameters
    ----------
    connect_addr
        Run the agent of this file for the console of LiveKit's CLI, which listens here as HOST:PORT.
    record
        With --connect-addr: let livekit-agents record the session.
    """

    connect_addr: str | None = None
    record: bool = False


@dataclass(kw_only=True)
class PoolOptions(KeyOptions):
    """Options of ``greenroom agents``.

    Parameters
    ----------
    url
        Address of the LiveKit server; ws://127.0.0.1:7880 by default. Environment: LIVEKIT_URL.
    api_key
        The key alone, as LiveKit's own command takes it. Environment: LIVEKIT_API_KEY.
    api_secret
        Its secret. Environment: LIVEKIT_API_SECRET.
    shards
        Processes that share the calls; 0, the default, is one for each core. Environment: GREENROOM_POOL_SHARDS.
    max_sessions
        Calls at once, over all shards; 50 by default. Environment: GREENROOM_POOL_MAX_SESSIONS.
    drain_timeout
        Seconds that calls get to end when the pool stops; 3600 by default.
        Environment: GREENROOM_POOL_DRAIN_TIMEOUT.
    memory_limit_mb
        MiB past which a shard takes no more calls; none by default. Environment: GREENROOM_POOL_MEMORY_LIMIT_MB.
    deployment
        LiveKit's deployment that the agents register with; they get the calls that ask for it, and no others.
        Environment: GREENROOM_POOL_DEPLOYMENT.
    observability_url
        The control plane that agents upload to and the pool reports to. Environment: GREENROOM_POOL_OBSERVABILITY.
    host
        Address of the pool's own HTTP port; 127.0.0.1 by default. Environment: GREENROOM_POOL_HOST.
    port
        The pool's own HTTP port; 8081 by default, 0 for any free one. Environment: GREENROOM_POOL_PORT.
    cli_addr
        Where LiveKit's CLI listens that started this; it brings new code itself.
    reload_addr
        The same, as older versions of it say.
    log_level
        What is logged at least: DEBUG, INFO (default), WARNING or ERROR. Environment: GREENROOM_LOG_LEVEL.
    log_format
        text (default; LiveKit's word is colored) or json. Environment: GREENROOM_LOG_FORMAT.
    metrics_jsonl
        A file to write OpenRTC's stream of metrics to, in JSON lines; it is emptied first.
        Environment: GREENROOM_POOL_METRICS_JSONL.
    metrics_jsonl_interval
        Seconds between two snapshots in files of metrics; 1 by default.
        Environment: GREENROOM_POOL_METRICS_JSONL_INTERVAL.
    metrics_json_file
        A file to hold the latest snapshot. Environment: GREENROOM_POOL_METRICS_JSON_FILE.
    verbose
        Log details.
    """

    url: str | None = None
    api_key: str | None = None
    api_secret: str | None = None
    shards: int | None = None
    max_sessions: int | None = None
    drain_timeout: float | None = None
    memory_limit_mb: float | None = None
    deployment: str | None = None
    observability_url: str | None = None
    host: str | None = None
    port: int | None = None
    cli_addr: str | None = None
    reload_addr: str | None = None
    log_level: str | None = None
    log_format: str | None = None
    metrics_jsonl: str | None = None
    metrics_jsonl_interval: float | None = None
    metrics_json_file: str | None = None
    verbose: bool = False


@dataclass(kw_only=True)
class PoolWays:
    """How a pool treats its code and its calls; what is not given is left to the configuration.

    Parameters
    ----------
    dev
        For development: saves are watched, Ctrl-C stops at once.
    swap
        Calls in progress go over to new code between two turns, instead of ending on the old.
    first_prefix
        Of several agents whose name a room begins with, take the first registered, as OpenRTC does, not the
        longest.
    only_registered_rooms
        Take only calls that name an agent of this pool.
    placement
        Whom calls share a process with, of agents that do not say: shared (default), tenant, or dedicated for
        a process to each call. Environment: GREENROOM_POOL_PLACEMENT.
    simulation
        Taken for LiveKit's CLI: a pool has no other limit than the one it is told.
    """

    dev: bool | None = None
    swap: bool | None = None
    first_prefix: bool | None = None
    only_registered_rooms: bool | None = None
    placement: str | None = None
    simulation: bool | None = None


@dataclass(kw_only=True)
class RouteOptions:
    """A call that somebody might dispatch, and how the pool would be run.

    Parameters
    ----------
    room
        The room's name.
    metadata
        The dispatch's metadata, as it would be sent.
    room_metadata
        The room's metadata.
    attribute
        An attribute of the dispatch, NAME=VALUE: greenroom.agent=sales. Repeatable.
    agent_name
        The name that is dispatched to; none is automatic dispatch.
    publisher
        A job for a publisher instead of one for the room.
    router_says
        What the program's router would answer; it is not asked.
    first_prefix
        Of several agents whose name the room begins with, take the first registered, not the longest.
    only_registered_rooms
        Take only calls that name an agent of the pool.
    config
        Configuration file; greenroom.toml here when it exists. Environment: GREENROOM_CONFIG.
    """

    room: str = ""
    metadata: str = ""
    room_metadata: str = ""
    attribute: list[str] | None = None
    agent_name: str = ""
    publisher: bool = False
    router_says: str | None = None
    first_prefix: bool | None = None
    only_registered_rooms: bool | None = None
    config: Path | None = None


@dataclass(kw_only=True)
class ApiOptions:
    """Options of every command that asks a control plane.

    Parameters
    ----------
    url
        Address of greenroom dev or greenroom control; http://127.0.0.1:7880 by default.
        Environment: GREENROOM_URL.
    token
        Bearer token, as greenroom login --token prints it; on loopback none is asked for.
        Environment: GREENROOM_TOKEN.
    """

    url: str | None = None
    token: str | None = None


@dataclass(kw_only=True)
class SessionsRequest:
    """Which sessions to list; what is not given does not matter.

    Parameters
    ----------
    agent
        The agent's name.
    room
        The room's name or sid.
    participant
        The identity of somebody who was in it.
    tag
        One of their tags.
    outcome
        success, fail, or none for those that did not say.
    status
        live or ended.
    since
        They began then or later: 2h (ago), 2026-11-20, 2026-11-20T09:00.
    until
        They began before then.
    text
        Words that were said, or stood in a tool's arguments or results; the last may be a beginning.
    slower_than
        Their slowest turn took so many seconds or more.
    errors
        Only those with errors.
    limit
        How many.
    after
        Go on where a page before ended.
    """

    agent: str | None = None
    room: str | None = None
    participant: str | None = None
    tag: str | None = None
    outcome: str | None = None
    status: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    slower_than: float | None = None
    errors: bool = False
    limit: int = 20
    after: str | None = None


@dataclass(kw_only=True)
class TopAsked:
    """What ``greenroom top`` shows, and how often.

    Parameters
    ----------
    once
        Show it once.
    every
        Seconds between two looks.
    sort
        Calls by started (default), duration, cpu, memory, latency, cost, agent, tenant or session.
    agent
        Only calls of this agent.
    tenant
        Only calls of this tenant.
    status
        Only calls whose agent is in this state: speaking, listening, thinking, ...
    pool
        Ask this pool itself, at the address of its own HTTP port.
    """

    once: bool = False
    every: float = 1.0
    sort: str | None = None
    agent: str | None = None
    tenant: str | None = None
    status: str | None = None
    pool: str | None = None


@dataclass(kw_only=True)
class LogOptions:
    """Options of every command that opens the event log.

    Parameters
    ----------
    data_dir
        Directory for data; .greenroom by default. Environment: GREENROOM_DATA_DIR.
    config
        Configuration file, for the directory; greenroom.toml here when it exists. Environment: GREENROOM_CONFIG.
    """

    data_dir: Path | None = None
    config: Path | None = None


@dataclass(kw_only=True)
class ControlOptions(RecordOptions, KeyOptions):
    """Options of the control plane.

    Parameters
    ----------
    livekit
        Address of the LiveKit server; ws://127.0.0.1:7880 by default. Environment: LIVEKIT_URL. Its key may come
        from LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
    bind
        Address to listen on; 127.0.0.1 by default. Environment: GREENROOM_CONTROL_BIND.
    port
        TCP port; 7870 by default, 0 for any free one. Environment: GREENROOM_CONTROL_PORT.
    allowed_host
        A further name under which browsers reach it, a proxy's for example; repeatable.
        Environment: GREENROOM_CONTROL_ALLOWED_HOSTS, several separated by commas.
    data_dir
        Directory for data; .greenroom by default. Environment: GREENROOM_DATA_DIR.
    observe
        Which sessions are listened to while they run: never, watched (while somebody looks, the default), sampled
        or always. Environment: GREENROOM_CONTROL_OBSERVE.
    share
        Of all sessions, the share that sampled listens to; 0.1 by default. Environment: GREENROOM_CONTROL_SHARE.
    verbose
        Log details.
    """

    livekit: str | None = None
    bind: str | None = None
    port: int | None = None
    allowed_host: list[str] | None = None
    data_dir: Path | None = None
    observe: str | None = None
    share: float | None = None
    verbose: bool = False
