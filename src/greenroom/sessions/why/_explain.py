"""From what the log says of a room to a few sentences. Pure: no clock, no look-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from greenroom.eventlog import Record
from greenroom.link import AgentStateChanged, ControlEnd, ControlMute, SessionError
from greenroom.sessions._events import SessionReport
from greenroom.sessions.why._facts import Facts, Person, Run, fold
from greenroom.sessions.why._words import CLOSED, LEFT, Evidence, Verdict, Why, agent_of, told

# The worst first.
_WORST: Final[tuple[Verdict, ...]] = (
    "no_worker",
    "waiting",
    "failed",
    "starting",
    "silent",
    "agent_left",
    "ended",
    "alone",
    "running",
)
_RUNS: Final = 3
_EVIDENCE: Final = 40
# An agent that takes longer to join, or to begin, will hardly do it at all.
_SLOW: Final = 10.0
_WORKER_LOG: Final = "Look at the log of its worker, or run greenroom doctor --agent NAME"


class _Judgement(msgspec.Struct, frozen=True):
    verdict: Verdict
    sentences: tuple[str, ...]
    fix: str = ""


def explain(room: str, records: Iterable[Record], *, now: float, tells_workers: bool = True) -> Why:
    """Say how it stands with the agents of a room, and why.

    :param room: what was asked for.
    :param records: the events of the room, of its sessions and of its jobs, in the order of the log.
    :param now: seconds since 1970.
    :param tells_workers: whether the LiveKit server tells of its dispatches.
    """
    given = list(records)
    facts = fold(given)
    runs = sorted(facts.runs.values(), key=lambda run: run.first)
    judged = [_judge(facts, run, now) for run in runs[-_RUNS:]]
    if not judged:
        judged = [_nobody(facts, facts.name or room, tells_workers)]
    worst = min(judged, key=lambda each: _WORST.index(each.verdict) if each.verdict in _WORST else -1)
    sentences = [sentence for each in judged for sentence in each.sentences]
    if len(runs) > _RUNS:
        sentences.insert(0, f"Of {len(runs)} jobs in this room these are the last {_RUNS}.")
    return Why(
        room=facts.name or room,
        room_sid=facts.sid,
        status=_status(facts, runs),
        verdict=worst.verdict,
        answer=tuple(sentences),
        fix=worst.fix,
        sessions=tuple(run.id for run in runs),
        evidence=_evidence(given, facts),
    )


def _status(facts: Facts, runs: list[Run]) -> Literal["live", "ended", "unknown"]:
    if facts.finished is not None:
        return "ended"
    running = any(run.assigned is not None and run.over is None for run in runs)
    return "live" if facts.started is not None or running else "unknown"


def _nobody(facts: Facts, room: str, tells_workers: bool) -> _Judgement:
    agents = [person for person in facts.people.values() if person.is_agent]
    if agents:
        names = ", ".join(person.identity for person in agents)
        return _Judgement("running", (f"{names} came to the room; the log holds no job of it, so no more is known.",))
    sentences = [f"No agent was asked to come to '{room}': the log holds no dispatch for it."]
    if not tells_workers:
        sentences.append("This LiveKit server does not tell of its dispatches, so one may wait there unseen.")
    fix = f"Ask for an agent: greenroom token --room {room} --agent NAME; or run one without a name"
    return _Judgement("not_asked", tuple(sentences), fix)


def _judge(facts: Facts, run: Run, now: float) -> _Judgement:
    name = agent_of(run.info.agent_name if run.info else "")
    person = _agent(facts, run)
    gone = person is not None and not person.present
    if run.assigned is None and run.pending is not None:
        return _never_came(facts, run, name, now)
    closed = run.report is not None and not _came_back(run, run.report, person)
    if run.over is not None or closed or gone or facts.finished is not None:
        return _ended(facts, run, person, name)
    joined = person is not None or run.state is not None or (run.info is not None and run.info.present)
    if not joined and run.assigned is not None:
        waited = now - run.assigned.at
        sentence = f"A worker has had the job of {name} for {_span(waited)}, and no agent has joined yet."
        return _Judgement("starting", (sentence,), _WORKER_LOG if waited > _SLOW else "")
    return _present(facts, run, person, name, now)


def _never_came(facts: Facts, run: Run, name: str, now: float) -> _Judgement:
    assert run.pending is not None
    if run.over is not None:
        why = (run.info.error if run.info else "") or run.why or "nothing says why"
        return _Judgement("no_worker", (f"No worker took the job of {name}: {_clause(why)}.",), run.fix)
    if facts.finished is not None:
        return _Judgement("no_worker", (f"The room ended before {name} came: {_clause(run.why)}.",), run.fix)
    waited = _span(now - run.pending.at)
    return _Judgement(
        "waiting", (f"{_capital(name)} is not there: its job waits, {_clause(run.why)} ({waited}).",), run.fix
    )


def _present(facts: Facts, run: Run, person: Person | None, name: str, now: float) -> _Judgement:
    state, since = _state(run, now)
    sentences = [f"{_capital(name)} is in the room" + (f" and is {state}." if state else ".")]
    users = [user for user in facts.users if user.present]
    if run.muted is not None and isinstance(run.muted.data, ControlMute):
        sentences.append(f"It cannot be heard: {run.muted.data.by} muted it {_span(now - run.muted.at)} ago.")
        return _Judgement("silent", tuple(sentences), "Unmute it on the page, or with POST /api/sessions/{id}/mute")
    if run.error is not None and (run.said is None or run.said.position < run.error.position):
        assert isinstance(run.error.data, SessionError)
        sentences.append(f"Since its last error it has said nothing: {_clause(run.error.data.text)}.")
        return _Judgement("silent", tuple(sentences), _WORKER_LOG)
    if state in {"initializing", "thinking"} and since > _SLOW:
        what = "has not begun" if state == "initializing" else "waits for its model or a tool"
        sentences.append(f"It {what}, for {_span(since)} now.")
        return _Judgement("silent", tuple(sentences), _WORKER_LOG)
    if facts.started is not None and not users:
        sentences.append("Nobody is there to talk to it.")
        return _Judgement("alone", tuple(sentences))
    quiet = ", ".join(user.identity for user in users if not user.audio)
    if users and not facts.heard and all(not user.audio for user in users):
        if facts.observed:
            sentences.append(f"It hears nothing: {quiet} sent neither sound nor text.")
            return _Judgement("silent", tuple(sentences), "Let the client publish its microphone")
        sentences.append(f"It hears no voice: {quiet} sends no sound. Whether there was text nobody listened to.")
    if person is not None and not person.audio:
        sentences.append("It publishes no sound: it answers by text alone.")
    return _Judgement("running", tuple(sentences))


def _ended(facts: Facts, run: Run, person: Person | None, name: str) -> _Judgement:
    failed = run.info is not None and run.info.status == "failed"
    cause = next((found for find in _CAUSES if (found := find(facts, run, person))), "")
    gone = person.left if person is not None else run.over
    stayed = [user for user in facts.users if gone is not None and (user.left is None or user.left.at > gone.at)]
    by_operator = run.ended_by is not None
    sentence = (
        f"{_capital(name)} is gone: {cause}." if cause else f"{_capital(name)} is gone; nothing in the log says why."
    )
    sentences = [sentence]
    if failed:
        fix = _WORKER_LOG
        return _Judgement("failed", tuple(sentences), fix)
    if stayed and not by_operator:
        were = "is" if facts.finished is None else "was"
        sentences.append(f"{', '.join(user.identity for user in stayed)} {were} still there.")
        return _Judgement("agent_left", tuple(sentences), "" if cause else _WORKER_LOG)
    departed = [user for user in facts.users if user.left is not None]
    if departed and not by_operator:
        last = max(departed, key=lambda user: user.left.at if user.left else 0.0)
        manner = " hung up" if last.reason == "CLIENT_INITIATED" else f" had left{_manner(last.reason)}"
        sentences.append(f"{last.identity}{manner}.")
    if facts.finished is not None:
        sentences.append("The room has ended.")
    return _Judgement("ended", tuple(sentences))


def _by_operator(_facts: Facts, run: Run, _person: Person | None) -> str:
    if run.ended_by is None or not isinstance(run.ended_by.data, ControlEnd):
        return ""
    data = run.ended_by.data
    return f"{data.by} ended {'the call' if data.scope == 'room' else 'it'}"


def _by_failure(_facts: Facts, run: Run, _person: Person | None) -> str:
    if run.info is None or run.info.status != "failed":
        return ""
    return f"its job failed, {_clause(run.info.error or 'without a word why')}"


def _by_worker(_facts: Facts, run: Run, _person: Person | None) -> str:
    return "its worker is gone" if run.worker_gone is not None and run.report is None else ""


def _by_report(_facts: Facts, run: Run, _person: Person | None) -> str:
    if run.report is None or not isinstance(run.report.data, SessionReport):
        return ""
    reason = run.report.data.close_reason
    words = CLOSED.get(reason, reason.replace("_", " "))
    if reason == "error" and run.error is not None and isinstance(run.error.data, SessionError):
        words += f", {_clause(run.error.data.text)}"
    return words


def _by_leaving(_facts: Facts, _run: Run, person: Person | None) -> str:
    if person is None or not person.reason or person.reason == "CLIENT_INITIATED":
        return ""
    return f"it left{_manner(person.reason)}"


def _by_room(facts: Facts, run: Run, _person: Person | None) -> str:
    over = run.over.at if run.over is not None else None
    alone = [user for user in facts.users if user.left is not None and (over is None or user.left.at <= over)]
    if facts.users and len(alone) == len(facts.users):
        return "the people it was there for had left"
    return "its room ended" if facts.finished is not None else ""


# What is told most exactly comes first.
_CAUSES: Final[tuple[Callable[[Facts, Run, Person | None], str], ...]] = (
    _by_operator,
    _by_failure,
    _by_worker,
    _by_report,
    _by_leaving,
    _by_room,
)


def _agent(facts: Facts, run: Run) -> Person | None:
    identity = run.info.agent_identity if run.info else ""
    found = [each for each in facts.people.values() if each.is_agent and each.identity in {identity, f"agent-{run.id}"}]
    # Who came back counts as they are now.
    return found[-1] if found else None


def _came_back(run: Run, closed: Record, person: Person | None) -> bool:
    """Tell whether a session went on after it closed, in another process of its pool."""
    back = person.joined if person is not None and person.present else None
    return any(each is not None and each.position > closed.position for each in (back, run.state))


def _state(run: Run, now: float) -> tuple[str, float]:
    if run.state is None or not isinstance(run.state.data, AgentStateChanged):
        return "", 0.0
    return run.state.data.state, now - run.state.at


def _evidence(records: list[Record], facts: Facts) -> tuple[Evidence, ...]:
    # A worker that went when it had no job of this room any more explains nothing.
    gone = {run.worker_gone.position for run in facts.runs.values() if run.worker_gone is not None}
    seen = set()
    found = []
    for record in records:
        what = told(record) if record.type != "worker.gone" or record.position in gone else ""
        # A job's events stand in its session's stream, too.
        if what and (record.type, what, record.at) not in seen:
            seen.add((record.type, what, record.at))
            found.append(
                Evidence(position=record.position, at=record.at, stream=record.stream, type=record.type, what=what)
            )
    states = [each.position for each in found if each.type == "agent.state"]
    kept = [each for each in found if each.type != "agent.state" or each.position == states[-1]]
    return tuple(kept[-_EVIDENCE:])


def _manner(reason: str) -> str:
    words = LEFT.get(reason, "")
    return f" {words}" if words else ""


def _span(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


def _clause(text: str) -> str:
    return " ".join(text.split()).rstrip(".") or "nothing says why"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
