"""Which livekit-agents the shards run on: everything private that is used of it, looked at before it is needed.

The private names themselves are touched in the modules ``_upstream*.py`` beside this one, and nowhere else.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

from greenroom.errors import GreenroomError, MissingExtraError

#: From the first version to before the second. docs/pool.md says how the range moves.
SUPPORTED: Final = ((1, 8, 9), (1, 9))
_FIX: Final = "Run: pip install 'livekit-agents>=1.8.9,<1.9'"

#: Objects by where they are, with the parameters that are passed by name.
_USED: Final[dict[str, tuple[str, ...]]] = {
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc.__init__": (
        "initialize_process_fnc",
        "job_entrypoint_fnc",
        "session_end_fnc",
        "session_end_timeout",
        "executor_type",
        "simulation_end_fnc",
    ),
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc.initialize": ("init_req", "client"),
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc.entrypoint": ("cch",),
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc._start_job": ("msg",),
    "livekit.agents.ipc.job_proc_lazy_main:_ShutdownInfo": ("user_initiated", "reason"),
    "livekit.agents.ipc.mock_room:create_mock_room.cache_clear": (),
    "livekit.agents.ipc.proto:InitializeRequest": ("http_proxy",),
    "livekit.agents.ipc.proto:InferenceResponse": ("request_id", "data", "error"),
    "livekit.agents.ipc.proto:InferenceRequest": ("request_id", "method", "data"),
    "livekit.agents.ipc.proto:ShutdownRequest": ("reason",),
    "livekit.agents.ipc.proto:StartJobRequest": (),
    "livekit.agents.ipc.proto:ShuttingDown": (),
    "livekit.agents.inference_runner:_InferenceRunner.registered_runners": (),
    "livekit.agents.job:JobExecutorType.THREAD": (),
    "livekit.agents.job:JobProcess.__init__": ("executor_type", "user_arguments", "http_proxy"),
    "livekit.agents.job:JobRequest.__init__": ("job", "on_reject", "on_accept"),
    "livekit.agents.job:JobAcceptArguments": ("name", "identity", "metadata", "attributes"),
    "livekit.agents.job:RunningJobInfo": (
        *("accept_arguments", "job", "url", "token", "worker_id", "fake_job"),
        *("received_at", "accepted_at", "assigned_at", "launched_at"),
    ),
    "livekit.agents.plugin:Plugin.registered_plugins": (),
    "livekit.agents.telemetry.loop_monitor:start_monitoring": ("loop", "name"),
    "livekit.agents.telemetry.loop_monitor:stop_monitoring": ("loop",),
    "livekit.agents.telemetry.loop_monitor:EventLoopMonitor.set_report_context": (),
    "livekit.agents.telemetry.traces:_resource": ("attributes",),
    "livekit.agents.utils.aio:Chan": (),
    "livekit.agents.utils.http_context:_create_ssl_context": (),
    "livekit.agents.utils.http_context:_set_default_cert_env": (),
    "livekit.agents.voice.agent_session:AgentSession.start": ("agent",),
    "livekit.agents.worker:AgentServer.from_server_options": ("options",),
    "livekit.rtc._ffi_client:signal.SIGTERM": (),
    "livekit.agents.cli:run_app": ("server",),
}
#: Attributes of instances, which stand in the constructor and nowhere else.
_SET: Final[dict[str, tuple[str, ...]]] = {
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc.initialize": ("_job_proc",),
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc.entrypoint": ("_shutdown_fut", "_exit_proc_flag"),
    "livekit.agents.job:JobContext.__init__": ("_primary_agent_session", "_info"),
    "livekit.agents.job:JobProcess.__init__": ("_userdata",),
    "livekit.agents.worker:AgentServer.__init__": (
        *("_agent_name", "_server_type", "_permissions", "_preload_modules", "_http_proxy", "_setup_fnc"),
        *("_entrypoint_fnc", "_request_fnc", "_session_end_fnc", "_simulation_end_fnc"),
        *("_session_end_timeout", "_initialize_process_timeout"),
    ),
}
#: Modules beside this one that look for themselves.
_PARTS: Final = ("_upstream_ffi", "_upstream_loop", "_upstream_session", "_upstream_vad")


def probe() -> dict[str, str]:
    """Import livekit-agents, look at every private name that is used, and return the versions found.

    :raises GreenroomError: naming what is missing, which versions are supported and what to do.
    """
    try:
        versions = {name: metadata.version(name) for name in ("livekit-agents", "livekit")}
        importlib.import_module("livekit.agents")
    except (metadata.PackageNotFoundError, ModuleNotFoundError) as error:
        raise MissingExtraError("Running agents", "agents") from error
    found = versions["livekit-agents"]
    low, high = (".".join(str(part) for part in bound) for bound in SUPPORTED)
    if not SUPPORTED[0] <= _numbers(found) < SUPPORTED[1]:
        raise GreenroomError(
            f"livekit-agents {found} is installed, and the pool is made for {low} up to before {high}",
            fix=_FIX,
            context={"version": found},
        )
    missing = [*_missing()]
    if missing:
        raise GreenroomError(
            f"livekit-agents {found} has no longer what the pool uses: {', '.join(missing)}",
            fix=f"{_FIX}, which has it, and tell us",
            context={"version": found, "missing": missing},
        )
    return versions


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def _missing() -> Iterator[str]:
    for place, parameters in _USED.items():
        try:
            found = _resolve(place)
        except (ImportError, AttributeError):
            yield place.replace(":", ".")
            continue
        if parameters:
            known = inspect.signature(found).parameters
            yield from (f"{place.replace(':', '.')}({name}=)" for name in parameters if name not in known)
    for place, names in _SET.items():
        try:
            code = inspect.unwrap(_resolve(place)).__code__
        except (ImportError, AttributeError):
            continue
        yield from (f"{place.replace(':', '.')}: self.{name}" for name in names if name not in code.co_names)
    for name in _PARTS:
        try:
            yield from importlib.import_module(f"{__package__}.{name}").probe()
        except (ImportError, AttributeError) as error:
            yield str(error)


def _resolve(place: str) -> Any:
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found
