"""What a shard runs: an agent with its callables, as the file that defines it left them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenroom.pool._model import AgentSpec, CodeOptions, Failure

if TYPE_CHECKING:
    from livekit.agents import JobContext, JobProcess, JobRequest

    from greenroom.pool.shard._advisor import Advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One agent, with what only the processes that hold its code can know.

    :param shares: what its prewarmed process is shared by: programs with the same one are set up once.
    :param asks: its own request filter, ``None`` to take every offer.
    :param setup: run once in each shard, before the shard is ready.
    :param session_end_timeout: seconds, for the program's ``on_session_end``.
    :param setup_timeout: seconds.
    """

    spec: AgentSpec
    entrypoint: Callable[[JobContext], Awaitable[None]]
    asks: Callable[[JobRequest], Awaitable[None]] | None = None
    session_end: Callable[[JobContext], Awaitable[None]] | None = None
    simulation_end: Callable[[Any], Any] | None = None
    setup: Callable[[JobProcess], Any] | None = None
    shares: object = None
    http_proxy: str | None = None
    session_end_timeout: float = 300.0
    setup_timeout: float = 10.0
    preload: tuple[str, ...] = ()


@dataclass(slots=True)
class Catalog:
    """Everything that one nursery has loaded.

    :param programs: by the names of their agents.
    :param pools: the ``AgentPool`` objects.
    :param advice: what they decide themselves, for the advisor.
    """

    programs: dict[str, Program] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    pools: list[Any] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    versions: dict[str, str] = field(default_factory=dict)
    options: CodeOptions = field(default_factory=CodeOptions)
    inference: bool = False
    advice: Advice | None = None
