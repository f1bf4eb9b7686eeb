"""The order, the repeats and the bounds of webhooks, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import webhook

from greenroom.server.webhooks._outbox import FIRST_BACKOFF, LONGEST_BACKOFF, PATIENCE, Lane, Outbox

pytestmark = pytest.mark.unit


def event(name: str) -> webhook.WebhookEvent:
    return webhook.WebhookEvent(event=name)


def name(lane: Lane | None) -> str | None:
    return lane.head.event.event if lane is not None else None


@pytest.fixture
def outbox():
    return Outbox(lane_limit=3, total_limit=5)


def test_a_room_has_one_event_on_its_way_at_a_time(outbox):
    outbox.add("a", event("1"), 0)
    outbox.add("a", event("2"), 0)
    lane = outbox.take(0)
    assert name(lane) == "1"
    assert outbox.take(0) is None
    outbox.delivered(lane)
    assert name(outbox.take(0)) == "2"


def test_rooms_do_not_wait_for_each_other(outbox):
    outbox.add("a", event("a1"), 0)
    outbox.add("b", event("b1"), 0)
    assert [name(outbox.take(0)), name(outbox.take(0))] == ["a1", "b1"]


def test_rooms_take_turns(outbox):
    for each in ("a1", "a2", "b1"):
        outbox.add(each[0], event(each), 0)
    outbox.delivered(outbox.take(0))
    assert name(outbox.take(0)) == "b1"


def test_a_failed_event_is_tried_again_before_the_next_and_ever_later(outbox):
    outbox.add("a", event("1"), 0)
    outbox.add("a", event("2"), 0)
    now, delays = 0.0, []
    for _ in range(9):
        lane = outbox.take(now)
        assert name(lane) == "1"
        delays.append(outbox.failed(lane, now))
        assert outbox.take(now) is None
        now = outbox.next_due()
    assert delays[:3] == [FIRST_BACKOFF, 2 * FIRST_BACKOFF, 4 * FIRST_BACKOFF]
    assert delays[-1] == LONGEST_BACKOFF


def test_an_event_nobody_takes_is_given_up_in_the_end_and_the_next_says_so(outbox):
    outbox.add("a", event("1"), 0)
    outbox.add("a", event("2"), 1)
    lane = outbox.take(0)
    assert outbox.failed(lane, 0) is not None
    lane = outbox.take(PATIENCE)
    assert outbox.failed(lane, PATIENCE) is None
    lane = outbox.take(PATIENCE)
    assert (name(lane), lane.dropped, outbox.dropped) == ("2", 1, 1)


def test_a_refused_event_does_not_hold_up_the_next(outbox):
    outbox.add("a", event("1"), 0)
    outbox.add("a", event("2"), 0)
    outbox.refused(outbox.take(0))
    assert name(outbox.take(0)) == "2"


def test_a_full_room_loses_its_oldest_but_never_what_is_on_its_way(outbox):
    outbox.add("a", event("1"), 0)
    lane = outbox.take(0)
    for each in ("2", "3", "4", "5"):
        outbox.add("a", event(each), 0)
    assert [pending.event.event for pending in lane.waiting] == ["1", "4", "5"]
    assert (lane.dropped, outbox.size) == (2, 3)


def test_a_receiver_that_is_told_of_losses_is_told_once(outbox):
    for each in ("1", "2", "3", "4"):
        outbox.add("a", event(each), 0)
    lane = outbox.take(0)
    lane.head.event.num_dropped = lane.dropped
    outbox.delivered(lane)
    assert (lane.dropped, outbox.dropped) == (0, 1)


def test_all_rooms_together_are_bounded(outbox):
    for room in "abcdefgh":
        outbox.add(room, event(room), 0)
    assert (outbox.size, outbox.dropped) == (5, 3)
    outbox.add("a", event("a2"), 0)
    assert (outbox.size, outbox.dropped) == (5, 4)


def test_at_the_end_everything_gets_one_more_attempt_at_once(outbox):
    outbox.add("a", event("1"), 0)
    outbox.add("a", event("2"), 0)
    outbox.failed(outbox.take(0), 0)
    outbox.hurry()
    lane = outbox.take(0)
    assert name(lane) == "1"
    assert outbox.failed(lane, 0) is None
    lane = outbox.take(0)
    assert name(lane) == "2"
    outbox.delivered(lane)
    assert outbox.size == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "ok", "fail", "refuse"])), max_size=80))
def test_every_event_is_delivered_in_order_or_counted_as_dropped(steps):
    outbox = Outbox(lane_limit=4, total_limit=8)
    now, made, done, on_way = 0.0, 0, {}, []
    for room, step in steps:
        now += 0.1
        if step == "add":
            made += 1
            outbox.add(room, event(f"{made}"), now)
            continue
        lane = outbox.take(now)
        if lane is not None:
            on_way.append(lane)
        if not on_way:
            continue
        lane = on_way.pop(0)
        if step == "ok":
            done.setdefault(lane.key, []).append(int(lane.head.event.event))
            outbox.delivered(lane)
        elif step == "fail":
            outbox.failed(lane, now)
        else:
            outbox.refused(lane)
    for lane in on_way:
        outbox.failed(lane, now)
    outbox.hurry()
    while (lane := outbox.take(now)) is not None:
        done.setdefault(lane.key, []).append(int(lane.head.event.event))
        outbox.delivered(lane)
    assert all(order == sorted(order) for order in done.values())
    assert sum(map(len, done.values())) + outbox.dropped == made
    assert outbox.size == 0
