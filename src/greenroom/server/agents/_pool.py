"""The connected workers: who may take a job, who gets asked, and why nobody can."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from livekit.protocol import agent

from greenroom.server.agents._model import Job, Worker, WorkerKey

MAX_OFFERS: Final = 32
"""How many offers may wait for one worker's answer; more would only queue up in its socket."""

_LAUNCHED_BY: Final = {
    agent.JT_ROOM: "rooms",
    agent.JT_PARTICIPANT: "participants",
    agent.JT_PUBLISHER: "publishers",
}


@dataclass(frozen=True, slots=True)
class Why:
    """Why no worker takes a job, and what a person can do about it."""

    reason: str
    fix: str


class WorkerPool:
    """Connected workers by id and by what they take.

    :param rng: chooses among equals; seeded in tests.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._workers: dict[str, Worker] = {}
        self._by_key: dict[WorkerKey, dict[str, Worker]] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def all(self) -> list[Worker]:
        """Return the registered workers."""
        return [worker for worker in self._workers.values() if worker.key is not None]

    def get(self, worker_id: str) -> Worker | None:
        """Return a connected worker, registered or not."""
        return self._workers.get(worker_id)

    def add(self, worker: Worker) -> None:
        """Remember a connection that has not registered yet."""
        self._workers[worker.id] = worker

    def register(self, worker: Worker, key: WorkerKey) -> None:
        """Let the worker be found by jobs that ask for ``key``."""
        worker.key = key
        self._by_key.setdefault(key, {})[worker.id] = worker

    def remove(self, worker_id: str) -> Worker | None:
        """Forget a connection."""
        worker = self._workers.pop(worker_id, None)
        if worker is not None and worker.key is not None:
            peers = self._by_key[worker.key]
            del peers[worker_id]
            if not peers:
                del self._by_key[worker.key]
        return worker

    def serves(self, key: WorkerKey) -> bool:
        """Whether a worker, busy or not, takes such jobs."""
        return key in self._by_key

    def choose(self, job: Job) -> Worker | None:
        """Return the worker to ask next, at random by ``1 - load`` among those that can take the job.

        A worker that left its last offer unanswered is asked only when no other can be: waiting for it
        costs the call seconds. One that says it is available at full load still beats nobody.
        """
        able = [worker for worker in self._matching(job) if is_able(worker) and worker.id not in job.tried]
        answering = [worker for worker in able if not worker.silent]
        return self._draw(answering or able)

    def is_declined(self, job: Job) -> bool:
        """Whether a worker of the right kind has already been asked in this round."""
        return any(worker.id in job.tried for worker in self._matching(job))

    def explain(self, job: Job) -> Why:
        """Say why no worker takes the job. Names only what the operator named: agents, keys, counts."""
        key = job.key
        named = [worker for worker in self.all() if worker.key is not None and worker.key.agent_name == key.agent_name]
        if not named:
            return self._explain_name(key)
        which = f"for the agent '{key.agent_name}'" if key.agent_name else "without an agent name"
        fitting = self._by_key.get(key, {}).values()
        if not fitting:
            return _explain_kind(key, named, which)
        allowed = list(self._matching(job))
        if not allowed:
            keys = ", ".join(sorted({worker.grant.key.key for worker in fitting}))
            return Why(
                f"no worker {which} may serve this room: the policy of its API key ({keys}) does not list it",
                "Add the room to the key's rooms, or start the worker with another key",
            )
        if job.declined or job.unanswered:
            return Why(
                f"the workers {which} declined it {job.declined} times and left it unanswered {job.unanswered} times",
                "Look into the log of the worker: a job is declined by its request function or when it is overloaded",
            )
        return Why(
            f"all {len(allowed)} workers {which} are full or draining",
            "Start another worker, or raise the load threshold of this one",
        )

    def _matching(self, job: Job) -> Iterable[Worker]:
        peers = self._by_key.get(job.key)
        if not peers:
            return ()
        return (worker for worker in peers.values() if worker.grant.allows_room(job.room.name))

    def _draw(self, workers: Sequence[Worker]) -> Worker | None:
        if not workers:
            return None
        weights = [max(0.0, 1.0 - worker.load) for worker in workers]
        return self._rng.choices(workers, weights if any(weights) else None)[0]

    def _explain_name(self, key: WorkerKey) -> Why:
        registered = sorted({worker.key.agent_name for worker in self.all() if worker.key is not None})
        if not registered:
            return Why(
                "no agent worker is connected",
                "Start one with the server's address in LIVEKIT_URL and a key of it in LIVEKIT_API_KEY and "
                "LIVEKIT_API_SECRET, for example: python my_agent.py start",
            )
        names = ", ".join(f"'{name}'" if name else "one without a name" for name in registered[:8])
        if not key.agent_name:
            return Why(
                f"every connected worker has an agent name ({names}), and those wait to be asked for by name",
                "Ask for one in the token (roomConfig.agents) or with CreateDispatch, or register it without a name",
            )
        return Why(
            f"no worker for the agent '{key.agent_name}' is connected, only {names}",
            "Start that agent, or ask for one that is connected",
        )


def is_able(worker: Worker) -> bool:
    """Whether the worker wants jobs and has few enough offers to answer."""
    return worker.available and not worker.draining and len(worker.offers) < MAX_OFFERS


def _explain_kind(key: WorkerKey, named: Sequence[Worker], which: str) -> Why:
    if not any(worker.key is not None and worker.key.deployment == key.deployment for worker in named):
        wanted = f"'{key.deployment}'" if key.deployment else "none"
        return Why(
            f"no worker {which} is of the deployment asked for ({wanted})",
            "Ask for the deployment the worker registered with (LIVEKIT_AGENT_DEPLOYMENT), or change the worker's",
        )
    if not any(worker.key is not None and not worker.key.namespace for worker in named):
        return Why(f"every worker {which} is in a namespace, and no dispatch asks for one", "Register it without one")
    taken = ", ".join(sorted({_LAUNCHED_BY[worker.key.job_type] for worker in named if worker.key is not None}))
    return Why(
        f"the workers {which} take jobs for {taken}, not for {_LAUNCHED_BY[key.job_type]}",
        "Register the worker with the server type this dispatch needs",
    )
