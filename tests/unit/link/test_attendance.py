"""Which sessions are listened to, in virtual time."""

from __future__ import annotations

import pytest

from greenroom.link import ObservePolicy, When
from greenroom.link._attendance import Attendance

pytestmark = pytest.mark.unit

JOBS = [f"AJ_{number:04}" for number in range(1000)]


def attendance(**policy):
    return Attendance(ObservePolicy(**policy))


def test_by_default_what_is_watched_is_and_ten_seconds_longer():
    who = attendance()
    assert who.choose(JOBS[:3], 0) == {}
    who.watch(JOBS[1])
    assert who.choose(JOBS[:3], 0) == {JOBS[1]: "watched"}
    who.unwatch(JOBS[1], 100)
    assert who.next_change() == 110
    assert who.choose(JOBS[:3], 109.9) == {JOBS[1]: "watched"}
    assert who.choose(JOBS[:3], 110) == {}
    assert who.next_change() is None


def test_the_last_who_looks_away_counts():
    who = attendance(linger=0)
    who.watch("AJ_1")
    who.watch("AJ_1")
    who.unwatch("AJ_1", 0)
    assert who.choose(["AJ_1"], 5)
    who.unwatch("AJ_1", 5)
    assert not who.choose(["AJ_1"], 5)


def test_who_looks_again_in_time_interrupts_nothing():
    who = attendance()
    who.watch("AJ_1")
    who.unwatch("AJ_1", 0)
    who.watch("AJ_1")
    assert who.next_change() is None
    assert who.choose(["AJ_1"], 60)


def test_a_share_of_all_is_the_same_share_every_time():
    chosen = attendance(when=When.SAMPLED, share=0.2).choose(JOBS, 0)
    assert 150 < len(chosen) <= 200
    assert set(chosen.values()) == {"sampled"}
    assert attendance(when=When.SAMPLED, share=0.2).choose(JOBS, 9) == chosen
    assert attendance(when=When.SAMPLED, share=0.0).choose(JOBS, 0) == {}
    assert len(attendance(when=When.SAMPLED, share=1.0, limit=2000).choose(JOBS, 0)) == 1000


def test_always_is_all_up_to_a_limit_and_those_watched_come_first():
    who = attendance(when=When.ALWAYS, limit=3)
    who.watch(JOBS[9])
    assert who.choose(JOBS[:10], 0) == {JOBS[9]: "watched", JOBS[0]: "always", JOBS[1]: "always"}


def test_never_is_never():
    who = attendance(when=When.NEVER)
    who.watch("AJ_1")
    assert who.choose(["AJ_1"], 0) == {}


def test_a_session_that_is_over_is_forgotten():
    who = attendance()
    who.watch("AJ_1")
    who.forget("AJ_1")
    who.unwatch("AJ_1", 0)
    assert who.choose(["AJ_1"], 0) == {}
    assert who.next_change() is None
