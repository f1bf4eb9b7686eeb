"""What changes between worker lists, as events."""

from __future__ import annotations

import pytest

from greenroom.eventlog import Record
from greenroom.ingest._worker_book import WORKERS, WorkerBook
from greenroom.link import JobInfo, WorkerInfo, WorkerList

pytestmark = pytest.mark.unit


def worker(worker_id="AW_1", **fields):
    return WorkerInfo(id=worker_id, **{"agent_name": "desk", "status": "available", "load": 0.0, **fields})


def job(job_id="AJ_1", phase="running", **fields):
    held = {} if phase in {"pending", "offered"} else {"worker_id": "AW_1", "assignments": 1, "agent_identity": "a"}
    return JobInfo(id=job_id, phase=phase, **{**held, **fields})


class Watcher:
    def __init__(self):
        self.book = WorkerBook()
        self.told = []

    def sees(self, *, workers=(), jobs=(), ended=(), now=100.0):
        """Take a list; return the events in the workers' stream as ``type id``, copies to sessions left out."""
        told = self.book.compare(WorkerList(version="v", workers=workers, jobs=jobs, ended=ended), now)
        self.told += told
        return [f"{type(each.data).__name__} {subject(each.data).id}" for stream, each in told if stream == WORKERS]

    def restart(self):
        """Start anew with what the log holds: each key once."""
        stored = {}
        for number, (stream, each) in enumerate(self.told):
            if stream == WORKERS:
                stored.setdefault(each.key or number, each)
        self.book = WorkerBook()
        self.book.restore(
            Record(
                position=1,
                tenant="",
                stream=WORKERS,
                seq=1,
                type="",
                version=1,
                at=0,
                recorded_at=0,
                key="",
                data=each.data,
                hash=b"",
            )
            for each in stored.values()
        )


def subject(data):
    return getattr(data, "worker", None) or data.job


@pytest.fixture
def watcher():
    return Watcher()


def test_workers_come_change_and_go(watcher):
    assert watcher.sees(workers=(worker(),)) == ["WorkerSeen AW_1"]
    assert watcher.sees(workers=(worker(updated_at=7.0, load=0.05),)) == []
    assert watcher.sees(workers=(worker(load=0.11),)) == ["WorkerChanged AW_1"]
    assert watcher.sees(workers=(worker(load=0.11, status="draining"),)) == ["WorkerChanged AW_1"]
    assert watcher.sees() == ["WorkerGone AW_1"]
    assert watcher.told[-1][1].data.worker.status == "draining"


def test_a_job_waits_is_assigned_and_ends(watcher):
    assert watcher.sees(jobs=(job(phase="pending", why="nobody is there"),)) == ["DispatchPending AJ_1"]
    assert watcher.sees(jobs=(job(phase="offered", why="nobody is there"),)) == []
    assert watcher.sees(jobs=(job(phase="pending", why="all are full"),)) == ["DispatchPending AJ_1"]
    assert watcher.sees(jobs=(job(),)) == ["JobAssigned AJ_1"]
    assert watcher.sees(jobs=(job(present=True),)) == []
    ended = job(phase="ended", status="success", ended_at=120.0)
    assert watcher.sees(ended=(ended,)) == ["JobEnded AJ_1"]
    assert watcher.sees(ended=(ended,)) == []
    session = [each for stream, each in watcher.told if stream == "session:AJ_1"]
    assert [type(each.data).__name__ for each in session] == ["JobAssigned", "JobEnded"]
    assert session[1].at == 120.0


def test_a_job_that_another_worker_takes_over_is_assigned_again(watcher):
    watcher.sees(jobs=(job(),))
    assert watcher.sees(jobs=(job(worker_id="AW_2", assignments=2),)) == ["JobAssigned AJ_1"]


def test_a_job_that_came_and_went_between_two_lists_is_told_of(watcher):
    assert watcher.sees(ended=(job(phase="ended", status="failed"),)) == ["JobAssigned AJ_1", "JobEnded AJ_1"]


def test_what_waited_in_vain_ends_as_a_dispatch(watcher):
    watcher.sees(jobs=(job(phase="pending", why="nobody is there"),))
    gone = job(phase="ended", worker_id="", assignments=0, status="failed")
    assert watcher.sees(ended=(gone,)) == ["DispatchEnded AJ_1"]


def test_a_job_nobody_tells_of_any_more_has_ended_nobody_knows_how(watcher):
    watcher.sees(jobs=(job(status="running", present=True), job("AJ_2", "pending", why="w")))
    assert watcher.sees() == ["JobEnded AJ_1", "DispatchEnded AJ_2"]
    ended = watcher.told[-2][1].data.job
    assert (ended.status, ended.present) == ("", False)


def test_a_program_that_starts_anew_tells_only_what_is_new(watcher):
    ended = job("AJ_0", "ended", status="success")
    watcher.sees(workers=(worker(), worker("AW_2")), jobs=(job(),), ended=(ended,))
    watcher.restart()
    before = len(watcher.told)
    assert watcher.sees(workers=(worker(),), jobs=(job(),), ended=(ended,)) == ["WorkerGone AW_2"]
    assert len(watcher.told) == before + 1
    watcher.restart()
    assert watcher.sees(workers=(worker(),)) == ["JobEnded AJ_1"]


def test_keys_name_nothing_but_what_livekit_made_up(watcher):
    watcher.sees(workers=(worker(),), jobs=(job(room="private", agent_identity="ada"),))
    assert [each.key for _, each in watcher.told] == [
        "worker.seen:AW_1",
        "job.assigned:AJ_1:1:AW_1",
        "session:job.assigned:AJ_1:1:AW_1",
    ]
