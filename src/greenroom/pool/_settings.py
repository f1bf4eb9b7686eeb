"""How a pool works: everything it can be told, with its defaults. Times are seconds, memory is MiB."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from greenroom.config import ApiKey, Count, Seconds

DEFAULT_MAX_SESSIONS: Final = 50
DEFAULT_DRAIN_TIMEOUT: Final = 3600.0
DEFAULT_HTTP_PORT: Final = 8081
_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Mebibytes = Annotated[float, msgspec.Meta(ge=0)]


class WatchdogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a shard whose loop does not turn is told of, gets no new calls, and is killed."""

    stall: Seconds = 0.2
    unfed: Seconds = 2.0
    kill: Seconds = 10.0


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a provider of a tenant counts as broken: more than this share of enough calls failed."""

    enabled: bool = True
    samples: Count = 5
    failures: _Share = 0.5
    window: Seconds = 60.0
    cooldown: Seconds = 30.0


#: Seconds, or that a policy never ends a call: TOML has no word for nothing.
Limit: TypeAlias = Seconds | Literal["never"]
Dollars: TypeAlias = Annotated[float, msgspec.Meta(gt=0)] | Literal["never"]


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a call is ended by rule. ``None`` is never.

    :param silent: nobody has said anything for so long.
    :param solo: no person has been in the room for so long.
    :param max_duration: since the call began.
    :param max_cost: USD, as far as the prices of the models are known.
    """

    silent: Limit | None = None
    solo: Limit | None = 60.0
    max_duration: Limit | None = None
    max_cost: Dollars | None = None


class PolicyOverrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent or a tenant has otherwise; ``None`` leaves what the pool has. See :class:`PolicySettings`."""

    silent: Limit | None = None
    solo: Limit | None = None
    max_duration: Limit | None = None
    max_cost: Dollars | None = None


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the configuration says of one agent; ``None`` leaves what its code says."""

    max_sessions: Annotated[int, msgspec.Meta(ge=0)] | None = None
    placement: Literal["shared", "tenant", "dedicated"] | None = None
    capabilities: tuple[str, ...] | None = None
    policies: PolicyOverrides | None = None


class TenantSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pool knows of a tenant.

    :param max_sessions: of it at once.
    :param agents: patterns of the agents that it may use; ``None`` is all.
    :param providers: what replaces an agent's providers: ``{"llm": "openai/gpt-5"}`` or
        ``{"llm": {"id": "openai/gpt-5", "api_key": "..."}}``. A secret never stands in a log line.
    :param environment: read by its sessions through ``greenroom.pool.context``.
    """

    max_sessions: Annotated[int, msgspec.Meta(ge=0)] | None = None
    agents: tuple[str, ...] | None = None
    providers: dict[str, Any] = {}
    policies: PolicyOverrides | None = None
    environment: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"TenantSettings(max_sessions={self.max_sessions!r}, agents={self.agents!r})"


class TenantsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where tenants come from.

    :param file: a TOML or JSON file, ``{TENANT: TenantSettings}``; read again when it is saved.
    :param known: tenants that stand in the configuration itself.
    :param lifetime: how long an answer of a program's resolver counts.
    :param strict: whether a tenant that nobody knows is refused.
    """

    file: str | None = None
    known: dict[str, TenantSettings] = {}
    lifetime: Seconds = 60.0
    strict: bool = False


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool works. ``None`` leaves it to what the program's ``AgentPool(...)`` says, then to the default.

    :param url: of the LiveKit server, ``ws://`` or ``wss://``.
    :param paths: files and directories with agents.
    :param shards: processes for shared calls; 0 is one for each core.
    :param max_sessions: at once, over all shards.
    :param observability: the control plane that agents upload to and the pool reports to; empty for none.
    :param port: of the pool's own HTTP port, with health, metrics and drain; 0 is any free one, ``None`` of it means
        the default.
    :param watch: whether saving a file brings the new code into service.
    :param swap: whether calls in progress go over to new code between two turns, instead of ending on the old.
    :param end_of_turn: whether the end-of-turn model inside livekit-agents is loaded once for all shards, 233 MB;
        ``None`` leaves that to what the agents' code seems to use.
    :param placement: whom calls share a shard with, of agents that neither the configuration nor their code places.
    :param metrics_jsonl: a file for OpenRTC's stream of metrics, emptied at the start; empty for none.
    :param metrics_jsonl_interval: between two snapshots in the files of metrics.
    :param metrics_json_file: a file that holds the latest snapshot of the stream; empty for none.
    :param first_prefix: whether of several agents whose name a room begins with the first registered is taken, as
        OpenRTC does, rather than the longest.
    """

    url: str
    key: ApiKey
    paths: tuple[Path, ...]
    dev: bool = False
    log_level: str = "INFO"
    shards: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_sessions: Count | None = None
    max_sessions_per_agent: dict[str, int] | None = None
    max_sessions_per_tenant: dict[str, int] | None = None
    drain_timeout: Seconds | None = None
    memory_warn_mb: _Mebibytes | None = None
    memory_limit_mb: _Mebibytes | None = None
    slow_session_ms: Seconds | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    deployment: str | None = None
    observability: str = ""
    placement: Literal["shared", "tenant", "dedicated"] | None = None
    metrics_jsonl: str = ""
    metrics_jsonl_interval: Seconds = 1.0
    metrics_json_file: str = ""
    watch: bool = False
    swap: bool = False
    only_registered_rooms: bool | None = None
    first_prefix: bool | None = None
    ffi_routing: bool = True
    gc_policy: bool = True
    inline_vad: bool = True
    end_of_turn: bool | None = None
    heartbeat: Seconds = 5.0
    offer_timeout: Seconds = 3.0
    load_timeout: Seconds = 60.0
    session_end_timeout: Seconds = 300.0
    shutdown_timeout: Seconds = 10.0
    cli_address: str = ""
    watchdog: WatchdogSettings = WatchdogSettings()
    breaker: BreakerSettings | None = None
    policies: PolicySettings = PolicySettings()
    tenants: TenantsSettings = TenantsSettings()
    agents: dict[str, AgentSettings] = {}
