"""Which agent a call would go to: asked of files, or of a pool that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from greenroom.cli import route
from greenroom.cli._options import RouteOptions
from greenroom.errors import ConfigError, GreenroomError
from greenroom.pool._model import AgentSpec, CodeOptions, Failure, Kind, Manifest
from greenroom.reports import AgentReport, PoolSnapshot

pytestmark = pytest.mark.unit

CAST = (
    AgentSpec(name="sales", kind=Kind.CLASS, capabilities=("german",)),
    AgentSpec(name="sales-eu", kind=Kind.CLASS, capabilities=("german",)),
    AgentSpec(name="desk", dispatch="desk", job_type=1),
)
NOTHING: dict[str, str] = {}


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Manifest:
    """What loading the files gives; tests replace its fields."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agents.py").write_text("")
    return Manifest(agents=CAST)


def explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    manifest: Manifest,
    options: RouteOptions,
    *,
    as_json: bool = False,
) -> tuple[int, list[str], str]:
    monkeypatch.setattr(route, "read_manifest", lambda files, environment: manifest)
    status = route.explain_command([Path("agents.py")], None, options, as_json=as_json, environment=NOTHING)
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err


def test_a_call_that_is_taken_ends_with_who_takes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Manifest
) -> None:
    options = RouteOptions(room="sales-eu-1", metadata='{"tenant": "acme"}')
    status, lines, notes = explained(monkeypatch, capsys, manifest, options)
    assert (status, notes) == (0, "")
    assert lines[-4:] == [
        "7. room name: 'sales-eu-1' begins with sales-eu-, the longest of sales-, sales-eu-",
        "agent: sales-eu (by room name)",
        "tenant: acme",
        "-> sales-eu",
    ]


@pytest.mark.parametrize(
    ("options", "last"),
    [
        (RouteOptions(room="sales-eu-1", first_prefix=True), "-> sales"),
        (RouteOptions(attribute=["greenroom.agent=sales-eu"]), "-> sales-eu"),
        (RouteOptions(room_metadata='{"demo": "sales-eu"}'), "-> sales-eu"),
        (RouteOptions(agent_name="desk", publisher=True), "-> desk"),
        (RouteOptions(router_says="sales-eu"), "-> sales-eu"),
    ],
)
def test_each_option_says_something_of_the_call_or_of_the_pool(
    options: RouteOptions,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    manifest: Manifest,
) -> None:
    status, lines, _ = explained(monkeypatch, capsys, manifest, options)
    assert (status, lines[-1]) == (0, last)


@pytest.mark.parametrize(
    ("options", "last"),
    [
        (RouteOptions(metadata='{"agent": "x"}'), "Unknown agent 'x' requested via job metadata."),
        (RouteOptions(agent_name="desk"), "No agent of the pool serves dispatch name 'desk' for jobs of type room."),
        (
            RouteOptions(only_registered_rooms=True),
            "Nothing in the offer names an agent of the pool, which takes only those.",
        ),
        (
            RouteOptions(room_metadata='{"tenant": "a/b"}'),
            "The tenant in room metadata must be 1-128 of A-Z, a-z, 0-9, '-' and '_'.",
        ),
        (RouteOptions(metadata='{"tenant": "globex"}'), "Nobody knows the tenant 'globex'."),
        (RouteOptions(room="sales-eu-1", metadata='{"tenant": "acme"}'), "Tenant 'acme' may not use agent 'sales-eu'."),
        (
            RouteOptions(room="sales-eu-1", metadata='{"tenant": "initech"}'),
            "Tenant 'initech' may not use agent 'sales-eu'.",
        ),
    ],
)
def test_a_refused_call_says_why_and_fails(
    options: RouteOptions,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    manifest: Manifest,
) -> None:
    Path("tenants.json").write_text('{"acme": {"agents": ["sales"]}}')
    Path("greenroom.toml").write_text(
        '[tenants]\nstrict = true\nfile = "tenants.json"\n'
        "[tenants.known.initech]\nagents = []\n[tenants.known.default]\n"
    )
    status, lines, _ = explained(monkeypatch, capsys, manifest, options)
    assert (status, lines[-1]) == (1, f"-> refused: {last}")


def test_the_configuration_goes_before_what_the_code_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Manifest
) -> None:
    manifest = msgspec.structs.replace(manifest, options=CodeOptions(first_prefix=True))
    options = RouteOptions(room="sales-eu-1")
    assert explained(monkeypatch, capsys, manifest, options)[1][-1] == "-> sales"
    Path("greenroom.toml").write_text(
        '[pool]\npaths = ["agents.py"]\nfirst_prefix = false\n[pool.agents.sales-eu]\ncapabilities = ["french"]\n'
    )
    assert explained(monkeypatch, capsys, manifest, options)[1][-1] == "-> sales-eu"
    assert route.explain_command([], None, options, as_json=False, environment=NOTHING) == 0
    french = RouteOptions(attribute=["greenroom.capabilities=french"])
    assert explained(monkeypatch, capsys, manifest, french)[1][-1] == "-> sales-eu"


def test_what_is_not_in_service_or_not_asked_is_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Manifest
) -> None:
    manifest = msgspec.structs.replace(
        manifest,
        failures=(Failure(source=str(Path("broken.py").resolve()), line=3, message="no module named 'x'"),),
        options=CodeOptions(routes=True),
    )
    _, lines, notes = explained(monkeypatch, capsys, manifest, RouteOptions())
    assert lines[-1] == "-> sales"
    assert notes.splitlines() == [
        "note: not in service: broken.py:3: no module named 'x'",
        "note: the program has a router, which was not asked: say what it answers with --router-says",
    ]
    _, _, notes = explained(monkeypatch, capsys, manifest, RouteOptions(router_says="sales"))
    assert len(notes.splitlines()) == 1


def test_a_program_can_read_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Manifest
) -> None:
    manifest = msgspec.structs.replace(manifest, options=CodeOptions(routes=True))
    _, lines, notes = explained(monkeypatch, capsys, manifest, RouteOptions(room="sales-1"), as_json=True)
    told = json.loads(lines[0])
    assert notes == ""
    assert (told["agent"], told["tenant"], told["rule"], told["refusal"]) == ("sales", "default", "room name", None)
    assert told["steps"][-1] == {"rule": "room name", "said": "'sales-1' begins with sales-", "decided": True}
    assert len(told["notes"]) == 1
    options = RouteOptions(room="sales-1", metadata='{"tenant": "a b"}')
    status, lines, _ = explained(monkeypatch, capsys, manifest, options, as_json=True)
    told = json.loads(lines[0])
    assert (status, told["agent"], told["tenant"], told["refusal"]["reason"]) == (1, None, None, "bad_tenant")


@pytest.mark.parametrize(
    ("paths", "url", "options", "message"),
    [
        ([], None, RouteOptions(), "No agents are named"),
        ([Path("agents.py")], "http://h", RouteOptions(), "--url asks a pool that runs"),
        ([Path("none.py")], None, RouteOptions(), "'none.py' does not exist"),
        ([Path("agents.py")], None, RouteOptions(attribute=["x"]), "--attribute 'x' is not usable"),
        ([Path("agents.py")], None, RouteOptions(attribute=["=x"]), "--attribute '=x' is not usable"),
    ],
)
def test_a_mistake_is_told(
    paths: list[Path], url: str | None, options: RouteOptions, message: str, manifest: Manifest
) -> None:
    del manifest
    with pytest.raises(ConfigError, match=message):
        route.explain_command(paths, url, options, as_json=False, environment=NOTHING)


def test_a_file_of_tenants_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Manifest
) -> None:
    Path("greenroom.toml").write_text('[tenants]\nfile = "none.toml"\n')
    with pytest.raises(ConfigError, match=r"The file of tenants none\.toml cannot be read"):
        explained(monkeypatch, capsys, manifest, RouteOptions())


class TestRunningPool:
    @pytest.fixture
    def url(self) -> Iterator[str]:
        body = msgspec.json.encode(
            PoolSnapshot(
                instance="i",
                machine="m",
                pid=1,
                started_at=0,
                at=1,
                state="serving",
                generation=1,
                routes=True,
                first_prefix=True,
                max_sessions=50,
                agents=(
                    AgentReport(name="sales", dispatch="", source="a", state="ready", kind="class", sessions=3),
                    AgentReport(
                        name="sales-eu",
                        dispatch="",
                        source="a",
                        state="starting",
                        kind="class",
                        capabilities=("german",),
                    ),
                    AgentReport(
                        name="desk", dispatch="", source="b", state="ready", capabilities=("german",), sessions=1
                    ),
                    AgentReport(name="broken", dispatch="", source="c", state="failed", detail="c.py:3: no"),
                ),
            )
        )

        class Pool(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/api/pool" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Pool) as server:
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()
            thread.join()

    @pytest.mark.parametrize(
        ("options", "last"),
        [
            (RouteOptions(room="sales-eu-1"), "-> sales"),
            (RouteOptions(attribute=["greenroom.capabilities=german"]), "-> sales-eu"),
            (
                RouteOptions(metadata='{"agent": "broken"}'),
                "-> refused: Unknown agent 'broken' requested via job metadata.",
            ),
            (RouteOptions(metadata='{"tenant": "nobody-here-knows"}'), "-> sales"),
        ],
    )
    def test_what_it_tells_of_itself_decides(
        self, url: str, options: RouteOptions, last: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status = route.explain_command([], f"{url}/", options, as_json=False, environment=NOTHING)
        said = capsys.readouterr()
        assert said.out.splitlines()[-1] == last
        assert status == last.startswith("-> refused")
        assert said.err.splitlines()[0] == "note: not in service: c.py:3: no"

    def test_what_is_no_pool_is_told_so(self) -> None:
        with pytest.raises(GreenroomError, match=r"No pool answers at http://127\.0\.0\.1:1"):
            route.explain_command([], "http://127.0.0.1:1", RouteOptions(), as_json=False, environment=NOTHING)

    @pytest.mark.parametrize(
        ("told", "note"),
        [
            ({"max_sessions": 1}, []),
            ({"max_sessions": 0}, ["the pool has 0 of 0 sessions: it takes no call now"]),
            ({"state": "draining"}, ["the pool is draining: it takes no call now"]),
        ],
    )
    def test_a_pool_that_takes_no_call_is_told_so(self, told: dict[str, Any], note: list[str]) -> None:
        plain: dict[str, Any] = {"state": "serving", "max_sessions": 1}
        snapshot = PoolSnapshot(instance="i", machine="m", pid=1, started_at=0, at=1, generation=1, **plain | told)
        assert route._hindrances(snapshot) == note
