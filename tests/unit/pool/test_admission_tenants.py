"""What is known of tenants: a table that may be saved anew at any time, and a resolver's answers for a while."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import ConfigError
from greenroom.pool._settings import TenantSettings, TenantsSettings
from greenroom.pool._wire import TenantFound
from greenroom.pool.admission import Known, Reason, Refusal, Tenants, TenantTable, answer_of, may_use, tenants_of

pytestmark = pytest.mark.unit

ACME = TenantSettings(max_sessions=1)
OTHER = TenantSettings(max_sessions=2)
THIRD = TenantSettings(max_sessions=3)
SECRET = "sk-very-secret"


def reason_of(answer: TenantSettings | Refusal | None) -> Reason | None:
    return answer.reason if isinstance(answer, Refusal) else None


class TestTable:
    def test_the_file_goes_before_the_configuration_and_both_before_the_resolver(self) -> None:
        table = TenantTable({"acme": ACME, "globex": ACME}, resolves=True)
        table.replace_file({"acme": OTHER})
        assert table.find("acme", 0).settings == OTHER
        assert table.find("globex", 0).settings == ACME
        assert not table.find("globex", 0).ask
        assert table.find("initech", 0).known is Known.PENDING
        table.replace_file({})
        assert table.find("acme", 0).settings == ACME

    def test_other_configuration_holds_at_once(self) -> None:
        table = TenantTable({"acme": ACME})
        table.apply({"acme": OTHER}, lifetime=1, strict=True)
        assert table.find("acme", 0).settings == OTHER
        assert reason_of(table.settle("globex", table.find("globex", 0))) is Reason.UNKNOWN_TENANT

    def test_an_unknown_tenant_has_no_settings_of_its_own(self) -> None:
        table = TenantTable()
        assert table.settle("acme", table.find("acme", 0)) == TenantSettings()

    def test_where_that_is_asked_for_it_is_refused(self) -> None:
        table = TenantTable(strict=True)
        assert table.settle("acme", table.find("acme", 0)) == Refusal(
            reason=Reason.UNKNOWN_TENANT, message="Nobody knows the tenant 'acme'."
        )

    def test_only_the_first_of_those_who_wait_asks(self) -> None:
        table = TenantTable(resolves=True)
        assert [table.find("acme", 0).ask for _ in range(3)] == [True, False, False]
        assert reason_of(table.settle("acme", table.find("acme", 0))) is Reason.TENANT_UNAVAILABLE
        table.answered("acme", ACME, 1)
        found = table.find("acme", 1)
        assert (found.known, found.settings, found.ask) == (Known.RESOLVED, ACME, False)

    def test_an_answer_that_is_too_old_still_counts_while_one_asks_again(self) -> None:
        table = TenantTable(lifetime=60, resolves=True)
        table.find("acme", 0)
        table.answered("acme", ACME, 0)
        assert not table.find("acme", 59.9).ask
        found = [table.find("acme", 60) for _ in range(3)]
        assert [each.ask for each in found] == [True, False, False]
        assert [each.settings for each in found] == [ACME] * 3
        table.answered("acme", OTHER, 61)
        assert table.find("acme", 61).settings == OTHER
        assert not table.find("acme", 120.9).ask
        assert table.find("acme", 121).ask

    def test_that_nobody_knows_a_tenant_is_asked_again_sooner(self) -> None:
        table = TenantTable(lifetime=60, resolves=True)
        table.find("acme", 0)
        table.answered("acme", None, 0)
        assert table.find("acme", 5.9).known is Known.UNKNOWN
        found = table.find("acme", 6)
        assert (found.known, found.ask) == (Known.PENDING, True)

    def test_a_tenant_that_was_known_and_is_no_more_is_unknown(self) -> None:
        table = TenantTable(lifetime=60, strict=True, resolves=True)
        table.find("acme", 0)
        table.answered("acme", ACME, 0)
        table.find("acme", 60)
        table.answered("acme", None, 61)
        assert reason_of(table.settle("acme", table.find("acme", 61))) is Reason.UNKNOWN_TENANT

    def test_a_resolver_that_fails_leaves_its_last_answer_in_force(self) -> None:
        table = TenantTable(lifetime=60, resolves=True)
        table.find("acme", 0)
        table.answered("acme", ACME, 0)
        table.find("acme", 60)
        table.failed("acme", "OSError", 61)
        assert [(each.settings, each.ask) for each in (table.find("acme", 66.9), table.find("acme", 67))] == [
            (ACME, False),
            (ACME, True),
        ]

    @pytest.mark.parametrize("strict", [True, False])
    def test_one_that_fails_before_it_ever_answered_refuses_the_call(self, strict: bool) -> None:
        table = TenantTable(lifetime=60, strict=strict, resolves=True)
        table.find("acme", 0)
        table.failed("acme", "OSError", 1)
        found = table.find("acme", 1)
        assert (found.known, found.problem) == (Known.UNAVAILABLE, "OSError")
        assert table.settle("acme", found) == Refusal(
            reason=Reason.TENANT_UNAVAILABLE, message="The settings of tenant 'acme' are not to be had."
        )
        assert table.find("acme", 7).ask

    def test_that_nobody_knew_it_is_no_answer_once_the_resolver_fails(self) -> None:
        table = TenantTable(lifetime=60, resolves=True)
        table.find("acme", 0)
        table.answered("acme", None, 0)
        table.find("acme", 6)
        table.failed("acme", "OSError", 7)
        assert table.find("acme", 7).known is Known.UNAVAILABLE

    def test_other_code_is_asked_anew(self) -> None:
        table = TenantTable(resolves=True)
        table.find("acme", 0)
        table.answered("acme", ACME, 0)
        table.resolve_with(resolves=True)
        assert table.find("acme", 0).known is Known.PENDING
        table.resolve_with(resolves=False)
        assert table.find("acme", 0).known is Known.UNKNOWN

    def test_strangers_cannot_make_it_remember_without_end(self) -> None:
        table = TenantTable(lifetime=1e6, resolves=True)
        for number in range(10_050):
            table.find(f"t{number}", number)
            table.answered(f"t{number}", None, number)
        assert len(table._answers) <= 10_001
        assert table.find("t10049", 10_050).known is Known.UNKNOWN


@pytest.mark.parametrize(
    ("agents", "agent", "may"),
    [(None, "sales", True), ((), "sales", False), (("sales*",), "sales-eu", True), (("Sales",), "sales", False)],
)
def test_a_tenant_may_use_the_agents_that_its_patterns_name(
    agents: tuple[str, ...] | None, agent: str, may: bool
) -> None:
    refusal = may_use(TenantSettings(agents=agents), "acme", agent)
    if may:
        assert refusal is None
    else:
        assert refusal == Refusal(reason=Reason.TENANT_AGENT, message=f"Tenant 'acme' may not use agent '{agent}'.")


class TestFile:
    def test_toml_and_json_say_the_same(self) -> None:
        toml = b'[acme]\nmax_sessions = 3\nagents = ["sales*"]\n[acme.providers]\nllm = "openai/gpt-5"\n[globex]\n'
        said = {
            "acme": {"max_sessions": 3, "agents": ["sales*"], "providers": {"llm": "openai/gpt-5"}},
            "globex": {},
        }
        expected = {
            "acme": TenantSettings(max_sessions=3, agents=("sales*",), providers={"llm": "openai/gpt-5"}),
            "globex": TenantSettings(),
        }
        assert tenants_of(toml, path="t.toml") == expected
        assert tenants_of(json.dumps(said).encode(), path="t.json") == expected

    @pytest.mark.parametrize(
        ("path", "text", "message"),
        [
            ("t.json", f'{{"acme": "{SECRET}', "t.json cannot be read: it is not JSON at line 1, column 10"),
            ("t.json", f'["{SECRET}"]', "t.json must hold one table for each tenant"),
            ("t.json", "[" * 100_000, "t.json cannot be read: it is nested too deep"),
            ("t.toml", f"[acme]\nkey = {SECRET}", "t.toml cannot be read: it is not TOML (at line 2, column 7)"),
            ("t.toml", f"[acme]\n{SECRET}", "t.toml cannot be read: it is not TOML (at end of document)"),
            (
                "t.toml",
                f'"{SECRET}" = 1\n"{SECRET}" = 2',
                "t.toml cannot be read: it is not TOML (at end of document)",
            ),
            ("t.toml", "[acme inc]\n", "t.toml cannot be read: it is not TOML (at line 1, column 7)"),
            ("t.toml", '["acme inc"]\n', "t.toml: 'acme inc' cannot be a tenant"),
            (
                "t.toml",
                f'[acme]\nmax_sessions = "{SECRET}"',
                "t.toml: tenant 'acme': Expected `int | null`, got `str` - at `$.max_sessions`",
            ),
            ("t.toml", "[acme]\nmax_sesions = 3", "t.toml: tenant 'acme': Object contains unknown field `max_sesions`"),
            ("t.toml", "[acme]\nmax_sessions = -1", "t.toml: tenant 'acme': Expected `int` >= 0 - at `$.max_sessions`"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_place_and_without_its_values(
        self, path: str, text: str, message: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            tenants_of(text.encode(), path=path)
        assert caught.value.message == message
        assert caught.value.fix
        assert SECRET not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__

    def test_a_file_of_other_bytes_is_told_so(self) -> None:
        with pytest.raises(ConfigError, match="it is not UTF-8 at byte 1"):
            tenants_of(b"a\xff", path="t.toml")


def test_a_resolver_may_name_providers_at_the_top_as_openrtc_has_it() -> None:
    assert answer_of({"llm": "a", "max_sessions": 2, "providers": {"tts": "b", "llm": "c"}}) == TenantSettings(
        max_sessions=2, providers={"llm": "a", "tts": "b"}
    )


def test_what_is_no_answer_is_told_without_its_values() -> None:
    with pytest.raises(ConfigError, match="unknown field `api_key`") as caught:
        answer_of({"api_key": SECRET})
    assert SECRET not in str(caught.value)


def test_a_secret_stands_in_no_repr() -> None:
    settings = answer_of({"llm": {"id": "openai/gpt-5", "api_key": SECRET}, "environment": {"KEY": SECRET}})
    assert SECRET not in repr(settings)
    table = TenantTable({"acme": settings})
    assert SECRET not in repr(table.find("acme", 0))
    assert SECRET not in repr(TenantsSettings(known={"acme": settings}))


class Resolver:
    """A program's resolver: what it says, how often it was asked, and when it answers."""

    def __init__(self, **found: dict[str, Any] | None) -> None:
        self.found = found
        self.asked: list[str] = []
        self.busy = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.problem = ""

    async def __call__(self, tenant: str) -> TenantFound:
        self.asked.append(tenant)
        self.busy.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return TenantFound(number=1, found=self.found.get(tenant), problem=self.problem)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def save(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, text: str) -> None:
    """Put another file in its place, written at the same time, as long."""
    other, at = path.with_suffix(".new"), path.stat()
    other.write_text(text)
    os.utime(other, ns=(at.st_atime_ns, at.st_mtime_ns))
    other.rename(path)


class TestResolver:
    async def test_calls_that_come_at_once_ask_once(self) -> None:
        resolver = Resolver(acme={"max_sessions": 1})
        resolver.open.clear()
        tenants = Tenants(TenantsSettings(), resolve=resolver)
        waiting = [asyncio.create_task(tenants.find("acme")) for _ in range(50)]
        await resolver.busy.wait()
        resolver.open.set()
        assert await asyncio.gather(*waiting) == [ACME] * 50
        assert await tenants.find("acme") == ACME
        assert resolver.asked == ["acme"]

    async def test_another_key_counts_from_the_next_call_after_its_lifetime(self) -> None:
        resolver, clock = Resolver(acme={"max_sessions": 1}), Clock()
        tenants = Tenants(TenantsSettings(lifetime=60), resolve=resolver, clock=clock)
        assert await tenants.find("acme") == ACME
        resolver.found["acme"] = {"max_sessions": 2}
        resolver.open.clear()
        clock.now = 60
        assert await tenants.find("acme") == ACME
        resolver.open.set()
        await asyncio.gather(*tenants._asking.values())
        assert await tenants.find("acme") == OTHER
        assert resolver.asked == ["acme", "acme"]

    @pytest.mark.parametrize("failure", ["raises", "says", "nonsense", "hangs"])
    async def test_a_failure_is_told_and_the_tenant_is_asked_for_again(
        self, failure: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        resolver, clock = Resolver(acme={"max_sessions": 1}), Clock()
        match failure:
            case "raises":
                resolver.error = RuntimeError(SECRET)
            case "says":
                resolver.problem = "KeyError"
            case "nonsense":
                resolver.found["acme"] = {"max_sessions": SECRET}
            case _:
                resolver.open.clear()
        tenants = Tenants(TenantsSettings(lifetime=60), resolve=resolver, clock=clock, patience=0.01)
        with caplog.at_level(logging.WARNING):
            assert reason_of(await tenants.find("acme")) is Reason.TENANT_UNAVAILABLE
        assert [record.message for record in caplog.records] == ["a tenant could not be resolved"]
        assert SECRET not in str(vars(caplog.records[0]))
        resolver.error, resolver.problem, resolver.found = None, "", {"acme": {"max_sessions": 2}}
        resolver.open.set()
        clock.now = 6
        assert await tenants.find("acme") == OTHER

    async def test_those_who_wait_when_other_code_comes_are_answered_by_it(self) -> None:
        former, latter = Resolver(acme={"max_sessions": 1}), Resolver(acme={"max_sessions": 2})
        former.open.clear()
        tenants = Tenants(TenantsSettings(), resolve=former)
        waiting = asyncio.create_task(tenants.find("acme"))
        await former.busy.wait()
        tenants.resolve_with(latter)
        assert await waiting == OTHER
        tenants.resolve_with(None)
        assert await tenants.find("acme") == TenantSettings()

    async def test_it_asks_nobody_once_it_is_closed(self) -> None:
        resolver = Resolver()
        resolver.open.clear()
        tenants = Tenants(TenantsSettings(), resolve=resolver)
        waiting = asyncio.create_task(tenants.find("acme"))
        await resolver.busy.wait()
        await tenants.aclose()
        assert reason_of(await waiting) is Reason.TENANT_UNAVAILABLE


class TestSavedFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "tenants.toml"
        path.write_text("[acme]\nmax_sessions = 1\n")
        return path

    @pytest.fixture
    def tenants(self, path: Path) -> Tenants:
        tenants = Tenants(TenantsSettings(file=str(path), strict=True, known={"globex": THIRD}))
        tenants.load()
        return tenants

    async def test_the_next_call_uses_what_was_saved(self, tenants: Tenants, path: Path) -> None:
        assert await tenants.find("acme") == ACME
        assert await tenants.find("globex") == THIRD
        assert not tenants.refresh()
        save(path, "[acme]\nmax_sessions = 20\n")
        assert tenants.refresh()
        assert await tenants.find("acme") == TenantSettings(max_sessions=20)
        assert not tenants.refresh()

    async def test_so_it_does_when_another_file_takes_its_place(self, tenants: Tenants, path: Path) -> None:
        replace(path, "[acme]\nmax_sessions = 2\n")
        assert tenants.refresh()
        assert await tenants.find("acme") == OTHER

    async def test_a_broken_save_keeps_the_last_good_one_and_says_so_once(
        self, tenants: Tenants, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        save(path, "[acme]\nmax_sessions = 'three'\n")
        with caplog.at_level(logging.WARNING):
            assert not tenants.refresh()
            assert not tenants.refresh()
        assert [record.message for record in caplog.records] == ["tenants unchanged: their file is broken"]
        assert "tenant 'acme'" in vars(caplog.records[0])["problem"]
        assert await tenants.find("acme") == ACME
        save(path, "[acme]\nmax_sessions = 2\n")
        assert tenants.refresh()
        assert await tenants.find("acme") == OTHER

    async def test_a_file_that_is_gone_for_a_while_takes_nobody_away(
        self, tenants: Tenants, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        remove(path)
        assert not tenants.refresh()
        assert [record.message for record in caplog.records] == ["tenants unchanged: their file is broken"]
        assert await tenants.find("acme") == ACME
        save(path, "[acme]\nmax_sessions = 1\n")
        assert tenants.refresh()

    def test_a_pool_does_not_start_without_its_file(self, tmp_path: Path) -> None:
        tenants = Tenants(TenantsSettings(file=str(tmp_path / "none.toml")))
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            tenants.load()

    async def test_other_settings_hold_at_once_or_not_at_all(self, tenants: Tenants, tmp_path: Path) -> None:
        broken = tmp_path / "broken.toml"
        broken.write_text("[acme")
        with pytest.raises(ConfigError):
            tenants.apply(TenantsSettings(file=str(broken)))
        assert await tenants.find("acme") == ACME
        assert reason_of(await tenants.find("initech")) is Reason.UNKNOWN_TENANT
        tenants.apply(TenantsSettings(known={"acme": OTHER}))
        assert await tenants.find("acme") == OTHER
        assert await tenants.find("initech") == TenantSettings()
        assert not tenants.refresh()
