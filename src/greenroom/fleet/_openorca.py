"""The fleet in OpenOrca's words, complete to the last required field.

Its client checks nothing: a missing array is a blank page, a number that nobody knows must be a number all the
same. This is the only place where unknown becomes one. Source: the contract of OpenOrca's ``packages/react``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from greenroom import __version__
from greenroom.fleet._index import Entry
from greenroom.fleet._shapes import FleetAction, FleetAgent, FleetHealth, FleetMachine, FleetSwarm, FleetTask
from greenroom.fleet._view import Look, with_lists

RUNTIME: Final = "livekit-agents"
DOMAINS: Final = frozenset({"communications", "productivity", "research", "development", "automation"})
INTEGRATIONS: Final = frozenset(
    {
        *("whatsapp", "telegram", "discord", "slack", "signal", "imessage", "email"),
        *("browser", "files", "terminal", "calendar", "notes", "github", "gmail"),
    }
)
# The innermost ring: on a laptop the others are off the screen.
_VOICE: Final = "communications"
_ACTIVITY: Final = {"active": 75, "waiting": 40, "idle": 10, "offline": 0, "intervention_required": 60}
_ACTIONS: Final = {
    "tool": "api_call",
    "message": "message_sent",
    "handoff": "decision",
    "control": "command_run",
    "error": "api_call",
}
_TASKS: Final = {"ended": "completed"}


def snapshot(look: Look) -> bytes:
    """Return everything as JSON: OpenOrca's ``ClawOrchestratorData`` with ``meta``."""
    agents: list[bytes] = []
    for each in look.agents():
        if isinstance(each, Entry):
            agents += _agent_pieces(each, look.at)
        else:
            agents.append(b"," + encode(agent(each, look.at)))
    tasks = [_task_piece(entry) for entries in (look.live.entries, look.offline) for entry in entries]
    tasks += [b"," + encode(task(each)) for each in look.pending]
    rest = {
        "machines": [machine(each, look.at) for each in look.machines],
        "actionLog": [action(each) for each in look.actions],
        "interventions": [],
        "swarms": [swarm(each) for each in look.swarms],
        "fleetHealth": health(look.health),
        "meta": {
            "runtime": RUNTIME,
            "runtimeVersion": __version__,
            "generatedAt": moment(look.at),
            "connectionStatus": connection(look.health),
        },
    }
    return with_lists(encode(rest), {"agents": agents, "tasks": tasks})


def agent(found: FleetAgent, now: float) -> dict[str, Any]:
    """Return a ``ClawAgent``."""
    status = found.status or "active"
    machine_id = found.machine or ""
    return {
        "id": found.id,
        "name": found.name,
        "machineId": machine_id,
        "machineName": machine_id.removeprefix("machine:") or "unknown",
        "status": status,
        "domain": _domain(found.domain),
        "integrations": _integrations(found.integrations),
        "currentTaskId": found.task,
        "currentAction": found.action or ("Offline" if status == "offline" else "In a call"),
        "memoryUsage": 0,
        "uptime": uptime(found.started_at, now if found.ended_at is None else found.ended_at),
        "tasksCompleted": found.tasks_completed,
        "collaboratingWith": list(found.collaborators),
        "interventionRequired": status == "intervention_required",
        "activityLevel": _ACTIVITY[status],
        "loadedCores": [],
        "knowledgeContributions": 0,
        "graphAccess": "read",
        **({} if found.cost_usd is None else {"spendUsd": found.cost_usd}),
    }


def task(found: FleetTask) -> dict[str, Any]:
    """Return an ``AgentTask``."""
    return {
        "id": found.id,
        "agentId": found.agent or "",
        "agentName": found.agent_name,
        "domain": _domain(found.domain),
        "title": found.title,
        "description": found.description or found.why or "",
        "status": _TASKS.get(found.status, found.status),
        "priority": found.priority or "medium",
        "progress": _progress(found),
        "startTime": moment(found.started_at),
        "integrationsUsed": _integrations(found.integrations),
        "collaborators": list(found.collaborators),
        **({} if found.cost_usd is None else {"costUsd": found.cost_usd}),
    }


def action(found: FleetAction) -> dict[str, Any]:
    """Return an ``ActionEntry``."""
    return {
        "id": found.id,
        "agentId": found.agent,
        "timestamp": moment(found.at),
        "type": _ACTIONS[found.kind],
        "description": found.description,
        "integration": "terminal",
        "outcome": found.outcome,
        "requiresApproval": False,
    }


def machine(found: FleetMachine, now: float) -> dict[str, Any]:
    """Return a ``Machine``."""
    seen = "now" if found.last_seen_at is None else f"{uptime(found.last_seen_at, now)} ago"
    return {"id": found.id, "name": found.name, "os": "linux", "isOnline": found.online, "lastSeen": seen}


def swarm(found: FleetSwarm) -> dict[str, Any]:
    """Return a ``Swarm``."""
    return {
        "id": found.id,
        "name": found.name,
        "objective": f"Call in {found.room}",
        "agents": list(found.agents),
        "leadAgentId": found.lead,
        "status": found.status,
        "progress": 100 if found.status == "completed" else 50,
        "tasksTotal": found.tasks,
        "tasksCompleted": found.tasks_completed,
    }


def health(found: FleetHealth) -> dict[str, Any]:
    """Return ``FleetHealth``."""
    return {
        "totalAgents": found.agents,
        "activeAgents": found.agents_active,
        "offlineAgents": found.agents_offline,
        "interventionsRequired": found.interventions,
        "tasksInProgress": found.tasks_in_progress,
        "tasksCompletedToday": found.tasks_completed_today,
        "swarmsActive": found.swarms_active,
        "overallHealth": found.level,
        **({} if found.cost_usd_today is None else {"totalSpendUsd": found.cost_usd_today}),
    }


def connection(found: FleetHealth) -> str:
    """Return ``degraded`` while what is told may be stale, else ``connected``."""
    return "degraded" if any(each.code == "ingestion_stalled" for each in found.reasons) else "connected"


def entry_task(entry: Entry) -> bytes:
    """Return the task of a call as JSON."""
    return _task_piece(entry)[1:]


def entry_agent(entry: Entry, now: float) -> bytes:
    """Return the agent of a call as JSON."""
    return b"".join(_agent_pieces(entry, now))[1:]


def _task_piece(entry: Entry) -> bytes:
    made = entry.made.get("task")
    if made is None:
        made = entry.made["task"] = b"," + encode(task(entry.seen.task))
    return made


def _agent_pieces(entry: Entry, now: float) -> tuple[bytes, bytes]:
    """Return an agent's JSON, with a comma before it: what is made once, and how long it has run."""
    found = entry.seen.agent
    made = entry.made.get("agent")
    if made is None:
        fields = agent(found, now)
        del fields["uptime"]
        made = entry.made["agent"] = b',%s,"uptime":"' % encode(fields)[:-1]
    if found.started_at is None:
        return made, b'unknown"}'
    return made, _lasting(int((now if found.ended_at is None else found.ended_at) - found.started_at) // 60)


@lru_cache(4096)
def _lasting(minutes: int) -> bytes:
    return b'%s"}' % uptime(0.0, 60.0 * minutes).encode()


def encode(found: Any) -> bytes:
    """Return JSON."""
    return msgspec.json.encode(found)


def moment(at: float | None) -> str:
    """Return a time as OpenOrca's interface prints it; empty when it is not known."""
    return "" if at is None else datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def uptime(since: float | None, until: float) -> str:
    """Return how long something has lasted: ``17m``."""
    if since is None:
        return "unknown"
    minutes = max(0, int(until - since)) // 60
    if minutes < 1:
        return "<1m"
    hours, minutes = divmod(minutes, 60)
    if hours < 1:
        return f"{minutes}m"
    return f"{hours}h {minutes}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"


def _progress(found: FleetTask) -> float:
    if found.progress is not None:
        return found.progress
    return 50 if found.status == "in_progress" else 100


def _domain(stated: str | None) -> str:
    return stated if stated in DOMAINS else _VOICE


def _integrations(stated: Iterable[str] | None) -> list[str]:
    return [word for word in (each.lower() for each in stated or ()) if word in INTEGRATIONS]
