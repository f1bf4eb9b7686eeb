"""What becomes of an offer: an answer in time, always; and of one that was accepted: a run, or its place given back.

Pure: every method takes ``now`` in seconds of one clock and returns effects, in order. Source: upstream's
``AgentServer._answer_availability`` and ``docs/protocol.md``, "Workers".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from livekit.protocol import agent

#: How long the server may take from our answer to its assignment; upstream's figure.
ASSIGNMENT_TIMEOUT: Final = 7.5


class Phase(StrEnum):
    """Where an offer is."""

    CONSIDERED = "considered"
    ACCEPTED = "accepted"
    OVER = "over"


@dataclass(slots=True, eq=False)
class Offer:
    """A job that LiveKit offers, or has given to us and not sent yet.

    :param worker: the registration that it came over.
    :param due: when the answer, then the assignment, is overdue.
    """

    worker: int
    job: agent.Job
    received_at: float
    due: float
    phase: Phase = Phase.CONSIDERED
    acceptance: Acceptance | None = None
    accepted_at: float = 0.0

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """As whom an agent joins; an empty identity is made from the job's id."""

    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Consider:
    """Decide about an offer, and call :meth:`Offers.accept` or :meth:`Offers.refuse`."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the server, over the registration that asked."""

    worker: int
    response: agent.AvailabilityResponse


@dataclass(frozen=True, slots=True)
class Run:
    """The job is ours: run it."""

    offer: Offer
    assignment: agent.JobAssignment


@dataclass(frozen=True, slots=True)
class Release:
    """Give back whatever is held for the offer: it will not run here."""

    offer: Offer
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Count and log a refusal."""

    offer: Offer
    reason: str
    detail: str = ""


Effect: TypeAlias = Consider | Reply | Run | Release | Refused


class Offers:
    """Every offer that has no run yet.

    :param timeout: seconds within which an offer is answered, whatever else happens.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._open: dict[str, Offer] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def accepted(self) -> int:
        """How many are accepted and not assigned yet."""
        return sum(offer.phase is Phase.ACCEPTED for offer in self._open.values())

    def next_wakeup(self) -> float | None:
        """Return when :meth:`wake` has something to do."""
        return min((offer.due for offer in self._open.values()), default=None)

    def offered(self, worker: int, job: agent.Job, now: float, *, running: bool = False) -> Iterator[Effect]:
        """LiveKit asks whether we take a job. ``running``: it runs here already."""
        offer = Offer(worker, job, now, now + self._timeout)
        if running or job.id in self._open:
            yield from self._decline(offer, "running", "this pool has the job already")
            return
        self._open[job.id] = offer
        yield Consider(offer)

    def accept(self, offer: Offer, acceptance: Acceptance, now: float) -> Iterator[Effect]:
        """Take an offer; unless it was answered meanwhile, which gives its place back."""
        if offer.phase is not Phase.CONSIDERED:
            yield Release(offer, "the answer came too late")
            return
        offer.phase = Phase.ACCEPTED
        offer.acceptance = acceptance
        offer.accepted_at = now
        offer.due = now + ASSIGNMENT_TIMEOUT
        response = agent.AvailabilityResponse(
            job_id=offer.id,
            available=True,
            participant_identity=acceptance.identity or f"agent-{offer.id}",
            participant_name=acceptance.name,
            participant_metadata=acceptance.metadata,
            participant_attributes=acceptance.attributes,
        )
        yield Reply(offer.worker, response)

    def refuse(self, offer: Offer, reason: str, detail: str = "", *, terminate: bool = False) -> Iterator[Effect]:
        """Turn an offer down, so that it is offered elsewhere, or nowhere with ``terminate``."""
        if offer.phase is Phase.CONSIDERED:
            yield from self._decline(offer, reason, detail, terminate=terminate)

    def assigned(self, worker: int, assignment: agent.JobAssignment) -> Iterator[Effect]:
        """LiveKit gives us a job. One that was not accepted, or too long ago, is not run."""
        offer = self._open.get(assignment.job.id)
        if offer is None or offer.worker != worker or offer.phase is not Phase.ACCEPTED:
            return
        self._close(offer)
        yield Run(offer, assignment)

    def terminated(self, job_id: str) -> Iterator[Effect]:
        """Nobody wants the job any more."""
        offer = self._open.get(job_id)
        if offer is not None:
            yield from self._abandon(offer, "the job was taken back")

    def lost(self, worker: int) -> Iterator[Effect]:
        """A registration's connection is gone, and with it whatever it was waiting for."""
        for offer in [offer for offer in self._open.values() if offer.worker == worker]:
            yield from self._abandon(offer, "the connection to LiveKit was lost")

    def wake(self, now: float) -> Iterator[Effect]:
        """Do what is due."""
        for offer in [offer for offer in self._open.values() if offer.due <= now]:
            if offer.phase is Phase.CONSIDERED:
                yield from self._decline(offer, "timeout", "no decision came in time")
            else:
                yield from self._abandon(offer, "the assignment did not come in time")

    def _decline(self, offer: Offer, reason: str, detail: str, *, terminate: bool = False) -> Iterator[Effect]:
        if self._open.get(offer.id) is offer:
            self._close(offer)
        offer.phase = Phase.OVER
        response = agent.AvailabilityResponse(job_id=offer.id, available=False, terminate=terminate)
        yield Reply(offer.worker, response)
        yield Refused(offer, reason, detail)

    def _abandon(self, offer: Offer, why: str) -> Iterator[Effect]:
        # Who still considers it gives back what it holds when it comes to answer.
        accepted = offer.phase is Phase.ACCEPTED
        self._close(offer)
        if accepted:
            yield Release(offer, why)

    def _close(self, offer: Offer) -> None:
        del self._open[offer.id]
        offer.phase = Phase.OVER
