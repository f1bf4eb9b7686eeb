"""Which worker is asked, and what is said when none can be."""

from __future__ import annotations

from collections import Counter

import pytest
from livekit.protocol import agent

from greenroom.config import ApiKey
from support.dispatcher_stage import Stage

pytestmark = pytest.mark.unit


def why(stage: Stage, room: str) -> tuple[str, str]:
    """Return why the room's only job waits, and the fix."""
    line = stage.logged("job waits for a worker")[-1]
    assert line.fields["room"] == room
    return str(line.fields["why"]), str(line.fields["fix"])


@pytest.mark.parametrize(
    ("worker", "wanted"),
    [
        ({"name": "a"}, {"agent_name": "b"}),
        ({"name": "a"}, {"agent_name": ""}),
        ({"name": ""}, {"agent_name": "a"}),
        ({"name": "a", "deployment": "blue"}, {"agent_name": "a"}),
        ({"name": "a"}, {"agent_name": "a", "deployment": "blue"}),
        ({"name": "a", "job_type": agent.JT_PUBLISHER}, {"agent_name": "a"}),
    ],
)
def test_a_worker_only_gets_jobs_for_its_name_type_and_deployment(stage: Stage, worker: dict, wanted: dict) -> None:
    stage.worker(**worker)
    stage.dispatch(stage.room(implicit=False), **wanted)
    assert stage.offers() == []


def test_the_less_loaded_worker_is_asked_in_proportion(stage: Stage) -> None:
    idle, busy = stage.worker(load=0.2), stage.worker(load=0.8)
    for number in range(2000):
        room = stage.room(f"room {number}")
        stage.close(room)
    asked = Counter(stage.offers())
    assert 0.75 < asked[idle] / (asked[idle] + asked[busy]) < 0.85


def test_a_worker_at_full_load_is_not_asked_while_another_can_be(stage: Stage) -> None:
    stage.worker(load=1.0)
    free = stage.worker(load=0.9)
    for number in range(50):
        stage.close(stage.room(f"room {number}"))
    assert set(stage.offers()) == {free}


def test_an_available_worker_at_full_load_beats_nobody(stage: Stage) -> None:
    worker = stage.worker(load=1.0)
    stage.room()
    assert stage.offers() == [worker]


@pytest.mark.parametrize("load", [float("nan"), float("inf"), -3.0])
def test_a_load_that_is_no_number_breaks_nothing(stage: Stage, load: float) -> None:
    worker = stage.worker(load=load)
    stage.room()
    assert stage.offers() == [worker]


def test_a_worker_gets_only_rooms_that_its_key_may_touch(stage: Stage) -> None:
    limited = stage.worker(key=ApiKey(key="eu", secret="s", rooms=("eu-*",)))
    stage.room("us-1")
    assert stage.offers() == []
    stage.room("eu-1")
    assert stage.offers() == [limited]


def test_the_reason_names_the_missing_worker(stage: Stage) -> None:
    room = stage.room()
    reason, fix = why(stage, room)
    assert reason == "no agent worker is connected"
    assert "LIVEKIT_URL" in fix


def test_the_reason_says_that_named_agents_wait_to_be_asked_for(stage: Stage) -> None:
    stage.worker("front_desk")
    reason, fix = why(stage, stage.room())
    assert "every connected worker has an agent name ('front_desk')" in reason
    assert "roomConfig.agents" in fix


def test_the_reason_names_the_deployment(stage: Stage) -> None:
    stage.worker("a", deployment="green")
    room = stage.room(implicit=False)
    stage.dispatch(room, "a", deployment="blue")
    assert why(stage, room)[0] == "no worker for the agent 'a' is of the deployment asked for ('blue')"


def test_the_reason_names_the_job_type(stage: Stage) -> None:
    stage.worker("a", job_type=agent.JT_PUBLISHER)
    room = stage.room(implicit=False)
    stage.dispatch(room, "a")
    assert why(stage, room)[0] == "the workers for the agent 'a' take jobs for publishers, not for rooms"


def test_the_reason_names_the_key_whose_policy_is_in_the_way(stage: Stage) -> None:
    stage.worker(key=ApiKey(key="eu", secret="s", rooms=("eu-*",)))
    assert "the policy of its API key (eu)" in why(stage, stage.room("us-1"))[0]


def test_the_reason_says_that_all_are_full(stage: Stage) -> None:
    stage.status(stage.worker("a"), full=True)
    room = stage.room(implicit=False)
    stage.dispatch(room, "a")
    assert why(stage, room)[0] == "all 1 workers for the agent 'a' are full or draining"
