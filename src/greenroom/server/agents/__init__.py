"""Agents: the workers that are connected, who is wanted in which room, and the jobs between the two."""

from __future__ import annotations

from greenroom.server.agents._errors import DispatchError
from greenroom.server.agents._info import WorkerInfo
from greenroom.server.agents._manager import AgentManager
from greenroom.server.agents._model import Transition
from greenroom.server.agents._validate import check_agent_name, check_deployment

__all__ = ["AgentManager", "DispatchError", "Transition", "WorkerInfo", "check_agent_name", "check_deployment"]
