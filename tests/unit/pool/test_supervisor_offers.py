"""Offers: answered in time whatever happens, and what is held for one is always given back or run."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from livekit.protocol import agent

from greenroom.pool.supervisor._offers import (
    ASSIGNMENT_TIMEOUT,
    Acceptance,
    Consider,
    Effect,
    Offer,
    Offers,
    Phase,
    Refused,
    Release,
    Reply,
    Run,
)

pytestmark = pytest.mark.unit

TIMEOUT = 3.0


def job(number: int = 1) -> agent.Job:
    return agent.Job(id=f"AJ_{number}")


def considered(offers: Offers, now: float = 0.0, number: int = 1) -> Offer:
    (effect,) = offers.offered(1, job(number), now)
    assert isinstance(effect, Consider)
    return effect.offer


def test_an_offer_that_is_accepted_and_assigned_runs() -> None:
    offers = Offers(TIMEOUT)
    offer = considered(offers)
    (reply,) = offers.accept(offer, Acceptance(name="Ada", attributes={"a": "b"}), 1.0)
    assert isinstance(reply, Reply)
    assert reply.response.available
    assert reply.response.participant_identity == "agent-AJ_1"
    assert dict(reply.response.participant_attributes) == {"a": "b"}
    (run,) = offers.assigned(1, agent.JobAssignment(job=job(), token="t"))
    assert isinstance(run, Run)
    assert run.offer is offer
    assert offers.next_wakeup() is None


def test_no_decision_in_time_is_a_refusal_and_a_late_one_gives_back_what_it_holds() -> None:
    offers = Offers(TIMEOUT)
    offer = considered(offers)
    assert offers.next_wakeup() == TIMEOUT
    reply, refused = offers.wake(TIMEOUT)
    assert isinstance(reply, Reply)
    assert not reply.response.available
    assert not reply.response.terminate
    assert isinstance(refused, Refused)
    assert refused.reason == "timeout"
    (release,) = offers.accept(offer, Acceptance(), TIMEOUT + 1)
    assert isinstance(release, Release)


def test_no_assignment_in_time_gives_the_place_back() -> None:
    offers = Offers(TIMEOUT)
    list(offers.accept(considered(offers), Acceptance(), 1.0))
    assert offers.next_wakeup() == 1.0 + ASSIGNMENT_TIMEOUT
    (release,) = offers.wake(1.0 + ASSIGNMENT_TIMEOUT)
    assert isinstance(release, Release)
    assert not list(offers.assigned(1, agent.JobAssignment(job=job())))


def test_a_lost_connection_gives_back_what_was_accepted_over_it() -> None:
    offers = Offers(TIMEOUT)
    list(offers.accept(considered(offers), Acceptance(), 0.0))
    waiting = considered(offers, number=2)
    (release,) = offers.lost(1)
    assert isinstance(release, Release)
    (late,) = offers.accept(waiting, Acceptance(), 0.5)
    assert isinstance(late, Release)


def test_a_job_that_is_taken_back_before_it_is_assigned_does_not_run() -> None:
    offers = Offers(TIMEOUT)
    list(offers.accept(considered(offers), Acceptance(), 0.0))
    (release,) = offers.terminated("AJ_1")
    assert isinstance(release, Release)


def test_an_assignment_that_nobody_accepted_or_over_another_registration_is_not_run() -> None:
    offers = Offers(TIMEOUT)
    assert not list(offers.assigned(1, agent.JobAssignment(job=job())))
    offer = considered(offers)
    assert not list(offers.assigned(1, agent.JobAssignment(job=job())))
    list(offers.accept(offer, Acceptance(), 0.0))
    assert not list(offers.assigned(2, agent.JobAssignment(job=job())))


def test_a_job_that_the_pool_has_already_is_refused() -> None:
    offers = Offers(TIMEOUT)
    considered(offers)
    reply, refused = offers.offered(2, job(), 0.0)
    assert isinstance(reply, Reply)
    assert reply.worker == 2
    assert isinstance(refused, Refused)
    assert refused.reason == "running"
    assert len(offers) == 1
    assert len(list(offers.offered(1, job(9), 0.0, running=True))) == 2


def test_a_filter_may_ask_that_nobody_else_be_offered_the_job() -> None:
    offers = Offers(TIMEOUT)
    reply, _ = offers.refuse(considered(offers), "filter", terminate=True)
    assert isinstance(reply, Reply)
    assert reply.response.terminate


class Machine(RuleBasedStateMachine):
    """Jobs are offered, decided, assigned, lost and forgotten in any order, and time passes."""

    waiting = Bundle("waiting")
    accepted = Bundle("accepted")

    def __init__(self) -> None:
        super().__init__()
        self.offers = Offers(TIMEOUT)
        self.now = 0.0
        self.number = 0
        self.asked: dict[str, float] = {}
        self.answered: dict[str, bool] = {}
        #: Offers that hold something: accepted, and neither run nor released.
        self.held: set[str] = set()
        self.fate: dict[str, str] = {}

    def take(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            match effect:
                case Consider(offer):
                    self.asked[offer.id] = self.now
                case Reply(_, response):
                    assert response.job_id not in self.answered
                    assert self.now <= self.asked[response.job_id] + TIMEOUT
                    self.answered[response.job_id] = response.available
                    if response.available:
                        self.held.add(response.job_id)
                case Run(offer, _):
                    assert offer.id not in self.fate
                    self.fate[offer.id] = "run"
                    self.held.remove(offer.id)
                case Release(offer, _):
                    assert self.fate.get(offer.id) != "run"
                    self.fate[offer.id] = "released"
                    self.held.discard(offer.id)
                case Refused():
                    pass
        return effects

    @rule(target=waiting, worker=st.integers(1, 2))
    def offer(self, worker: int) -> Offer:
        self.number += 1
        (effect,) = self.take(list(self.offers.offered(worker, job(self.number), self.now)))
        assert isinstance(effect, Consider)
        return effect.offer

    @rule(target=accepted, offer=consumes(waiting))
    def accept(self, offer: Offer) -> Offer:
        self.take(list(self.offers.accept(offer, Acceptance(), self.now)))
        return offer

    @rule(offer=consumes(waiting))
    def refuse(self, offer: Offer) -> None:
        self.take(list(self.offers.refuse(offer, "full")))

    @rule(offer=accepted)
    def assign(self, offer: Offer) -> None:
        self.take(list(self.offers.assigned(offer.worker, agent.JobAssignment(job=offer.job))))

    @rule(offer=st.one_of(waiting, accepted))
    def take_back(self, offer: Offer) -> None:
        self.take(list(self.offers.terminated(offer.id)))
        if offer.id not in self.answered:
            # Nobody waits for an answer about a job that was taken back.
            self.answered[offer.id] = False

    @rule(worker=st.integers(1, 2))
    def lose(self, worker: int) -> None:
        for offer in list(self.offers._open.values()):
            if offer.worker == worker and offer.phase is Phase.CONSIDERED:
                self.answered[offer.id] = False
        self.take(list(self.offers.lost(worker)))

    @rule(seconds=st.floats(0.1, 9.0))
    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.offers.next_wakeup()) is not None and due <= until:
            self.now = max(self.now, due)
            self.take(list(self.offers.wake(self.now)))
        self.now = until

    @invariant()
    def every_offer_is_answered_in_time(self) -> None:
        late = [name for name, at in self.asked.items() if self.now > at + TIMEOUT and name not in self.answered]
        assert not late

    @invariant()
    def whatever_is_held_is_waited_for(self) -> None:
        assert self.held == {offer.id for offer in self.offers._open.values() if offer.phase is Phase.ACCEPTED}


TestMachine = Machine.TestCase
