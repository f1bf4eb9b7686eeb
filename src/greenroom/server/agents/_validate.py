"""Checks of what workers and callers write into names.

Source: ``protocol/agent`` ``ValidateDeployment`` and ``pkg/agent/worker.go`` ``HandleRegister``.
"""

from __future__ import annotations

from typing import Final

from livekit.protocol import agent

from greenroom.config import Limits
from greenroom.server.agents._errors import DispatchError
from greenroom.server.agents._model import WorkerKey

MAX_DEPLOYMENT: Final = 64


def check_deployment(deployment: str) -> None:
    """Raise :class:`DispatchError` unless a worker can register with the deployment."""
    if len(deployment.encode()) > MAX_DEPLOYMENT or "_" in deployment or any(char.isspace() for char in deployment):
        raise DispatchError(
            "deployment is longer than 64 bytes, or has a space or an underscore in it",
            fix="Use letters, digits, dots and hyphens",
        )


def check_agent_name(name: str, limits: Limits) -> None:
    """Raise :class:`DispatchError` for a name that is too long."""
    if len(name) > limits.name:
        raise DispatchError(f"agent name or namespace exceeds {limits.name} characters", fix="Use a shorter one")


def worker_key(request: agent.RegisterWorkerRequest, limits: Limits) -> WorkerKey:
    """Return what a worker that registers takes. Raises :class:`DispatchError` when it cannot be."""
    if request.type not in agent.JobType.values():
        raise DispatchError(
            f"job type {request.type} is unknown", fix="Register as JT_ROOM, JT_PUBLISHER or JT_PARTICIPANT"
        )
    if max(len(request.agent_name), len(request.namespace)) > limits.name:
        raise DispatchError(f"agent name or namespace exceeds {limits.name} characters", fix="Use a shorter one")
    check_deployment(request.deployment)
    return WorkerKey(request.agent_name, request.namespace, request.type, request.deployment)
