"""Which agent an offer is for, and in which words that is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.pool._model import AgentSpec, Kind
from greenroom.pool._wire import Routed
from greenroom.pool.admission import Offer, Reason, Router, Rule, explain, tenant_of

pytestmark = pytest.mark.unit

CAST = ("restaurant", "dental", "sales", "sales-eu")


def cast(*names: str, **fields: Any) -> list[AgentSpec]:
    return [AgentSpec(name=name, kind=Kind.CLASS, **fields) for name in names or CAST]


def said(**fields: object) -> str:
    return json.dumps(fields)


def chosen(router: Router, offer: Offer, answer: Routed | None = None) -> tuple[str, Rule]:
    routing = router.route(offer, answer)
    assert routing.agent is not None, routing.refusal
    assert routing.refusal is None
    assert routing.steps[-1].decided
    assert not any(step.decided for step in routing.steps[:-1])
    return routing.agent.name, routing.rule


def refused(router: Router, offer: Offer, answer: Routed | None = None) -> tuple[Reason, str]:
    routing = router.route(offer, answer)
    assert routing.refusal is not None, routing.agent
    assert routing.agent is None
    return routing.refusal.reason, routing.refusal.message


@pytest.mark.parametrize(
    ("offer", "name", "rule"),
    [
        (Offer(), "restaurant", Rule.FIRST),
        (Offer(room="lobby"), "restaurant", Rule.FIRST),
        (Offer(room="dental"), "restaurant", Rule.FIRST),
        (Offer(room="dental-"), "dental", Rule.ROOM_NAME),
        (Offer(room="dental-17"), "dental", Rule.ROOM_NAME),
        (Offer(room="DENTAL-17"), "restaurant", Rule.FIRST),
        (Offer(room="my-dental-17"), "restaurant", Rule.FIRST),
        (Offer(room="sales-17"), "sales", Rule.ROOM_NAME),
        (Offer(room="sales-eu-123"), "sales-eu", Rule.ROOM_NAME),
        (Offer(room="sales-eu"), "sales", Rule.ROOM_NAME),
        (Offer(room="sales-europe-1"), "sales", Rule.ROOM_NAME),
        (Offer(metadata=said(agent="dental")), "dental", Rule.JOB_METADATA),
        (Offer(metadata=said(demo="dental")), "dental", Rule.JOB_METADATA),
        (Offer(metadata=said(agent="dental", demo="sales")), "dental", Rule.JOB_METADATA),
        (Offer(metadata=said(agent=" dental\n")), "dental", Rule.JOB_METADATA),
        (Offer(metadata=f"  {said(agent='dental')}\n"), "dental", Rule.JOB_METADATA),
        (Offer(metadata=said(agent=5, demo="sales-eu")), "sales-eu", Rule.JOB_METADATA),
        (Offer(metadata=said(agent="  ", demo="sales-eu")), "sales-eu", Rule.JOB_METADATA),
        (Offer(metadata=said(agent=None, demo="sales-eu")), "sales-eu", Rule.JOB_METADATA),
        (Offer(metadata=said(agent={"name": "dental"})), "restaurant", Rule.FIRST),
        (Offer(metadata="sales-eu"), "restaurant", Rule.FIRST),
        (Offer(metadata='"sales-eu"'), "restaurant", Rule.FIRST),
        (Offer(metadata='["sales-eu"]'), "restaurant", Rule.FIRST),
        (Offer(metadata="5"), "restaurant", Rule.FIRST),
        (Offer(metadata='{"agent": "dental"'), "restaurant", Rule.FIRST),
        (Offer(metadata="[" * 100_000), "restaurant", Rule.FIRST),
        (Offer(metadata='{"a":' * 100_000), "restaurant", Rule.FIRST),
        (Offer(metadata='{"agent": "dental", "heat": NaN}'), "dental", Rule.JOB_METADATA),
        (Offer(metadata=said(tenant="acme"), room="dental-1"), "dental", Rule.ROOM_NAME),
        (Offer(room_metadata=said(agent="dental")), "dental", Rule.ROOM_METADATA),
        (Offer(room_metadata=said(demo="dental"), room="sales-1"), "dental", Rule.ROOM_METADATA),
        (Offer(metadata=said(demo="sales"), room_metadata=said(agent="dental")), "sales", Rule.JOB_METADATA),
        (Offer(metadata="plain", room_metadata=said(agent="dental")), "dental", Rule.ROOM_METADATA),
        (Offer(metadata=said(agent="sales"), room="dental-1"), "sales", Rule.JOB_METADATA),
        (Offer(attributes={"greenroom.agent": "sales"}, metadata=said(agent="dental")), "sales", Rule.AGENT_ATTRIBUTE),
        (Offer(attributes={"greenroom.agent": " sales "}), "sales", Rule.AGENT_ATTRIBUTE),
        (Offer(attributes={"greenroom.agent": " "}, room="dental-1"), "dental", Rule.ROOM_NAME),
        (Offer(attributes={"greenroom.capabilities": " , "}, room="dental-1"), "dental", Rule.ROOM_NAME),
    ],
)
def test_an_offer_goes_to_the_agent_that_the_first_fitting_rule_names(offer: Offer, name: str, rule: Rule) -> None:
    assert chosen(Router(cast()), offer) == (name, rule)


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (Offer(metadata=said(agent="billing")), "Unknown agent 'billing' requested via job metadata."),
        (Offer(metadata=said(agent="SALES")), "Unknown agent 'SALES' requested via job metadata."),
        (Offer(metadata=said(agent="billing", demo="sales")), "Unknown agent 'billing' requested via job metadata."),
        (
            Offer(metadata=said(agent="billing"), room_metadata=said(agent="sales"), room="dental-1"),
            "Unknown agent 'billing' requested via job metadata.",
        ),
        (Offer(room_metadata=said(demo="billing")), "Unknown agent 'billing' requested via room metadata."),
        (
            Offer(attributes={"greenroom.agent": "billing"}, metadata=said(agent="sales")),
            "Unknown agent 'billing' requested via attribute greenroom.agent.",
        ),
    ],
)
def test_a_name_that_the_pool_does_not_have_is_refused_without_falling_through(offer: Offer, message: str) -> None:
    assert refused(Router(cast()), offer) == (Reason.UNKNOWN_AGENT, message)


def test_a_router_goes_before_everything_else() -> None:
    offer = Offer(job_id="AJ_1", attributes={"greenroom.agent": "sales"}, metadata=said(agent="dental"))
    assert chosen(Router(cast()), offer, Routed(number=1, agent="sales-eu")) == ("sales-eu", Rule.ROUTER)


def test_a_router_that_leaves_the_choice_open_is_passed_over() -> None:
    offer = Offer(metadata=said(agent="dental"))
    assert chosen(Router(cast()), offer, Routed(number=1)) == ("dental", Rule.JOB_METADATA)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Routed(number=1, agent="billing"), "Custom router returned unknown agent 'billing' for job 'AJ_1'."),
        (Routed(number=1, agent=""), "Custom router returned unknown agent '' for job 'AJ_1'."),
        (
            Routed(number=1, agent="sales", problem="ValueError"),
            "Custom router raised while resolving the agent for job 'AJ_1'.",
        ),
    ],
)
def test_a_router_that_fails_refuses_the_offer(answer: Routed, message: str) -> None:
    offer = Offer(job_id="AJ_1", metadata=said(agent="dental"))
    assert refused(Router(cast()), offer, answer) == (Reason.ROUTER, message)


def test_the_first_registered_prefix_wins_where_that_is_asked_for() -> None:
    router = Router(cast(), first_prefix=True)
    assert chosen(router, Offer(room="sales-eu-123")) == ("sales", Rule.ROOM_NAME)
    assert chosen(Router(cast("sales-eu", "sales"), first_prefix=True), Offer(room="sales-eu-1"))[0] == "sales-eu"


@given(
    names=st.lists(st.from_regex(r"[a-c-]{1,4}", fullmatch=True), min_size=1, max_size=6, unique=True), data=st.data()
)
def test_the_longest_name_that_a_room_begins_with_wins_in_any_order(names: list[str], data: st.DataObject) -> None:
    room = data.draw(st.text("abc-", max_size=10))
    fitting = [name for name in names if room.startswith(f"{name}-")]
    expected = (max(fitting, key=len), Rule.ROOM_NAME) if fitting else (names[0], Rule.FIRST)
    assert chosen(Router(cast(*names)), Offer(room=room)) == expected


def test_an_empty_pool_refuses() -> None:
    assert refused(Router([]), Offer()) == (Reason.NO_AGENT, "No agents are registered in the pool.")


def test_only_agents_of_the_dispatch_name_and_the_type_of_job_are_looked_at() -> None:
    router = Router(
        [
            *cast("first"),
            *cast("second", dispatch="desk"),
            *cast("third", dispatch="desk", job_type=1),
            *cast("fourth", dispatch="desk"),
        ]
    )
    assert chosen(router, Offer())[0] == "first"
    assert chosen(router, Offer(dispatch="desk"))[0] == "second"
    assert chosen(router, Offer(dispatch="desk", job_type=1))[0] == "third"
    assert chosen(router, Offer(dispatch="desk", room="fourth-1"))[0] == "fourth"
    assert chosen(router, Offer(dispatch="desk", room="third-1"))[0] == "second"
    assert refused(router, Offer(dispatch="door")) == (
        Reason.NO_AGENT,
        "No agent of the pool serves dispatch name 'door' for jobs of type room.",
    )
    assert refused(router, Offer(job_type=1)) == (
        Reason.NO_AGENT,
        "No agent of the pool serves automatic dispatch for jobs of type publisher.",
    )
    assert explain(router.route(Offer(dispatch="door"))) == [
        "1. dispatch: dispatch name 'door', jobs of type room: none; the pool serves automatic dispatch, jobs of type "
        "room; dispatch name 'desk', jobs of type room; dispatch name 'desk', jobs of type publisher",
        "-> refused: No agent of the pool serves dispatch name 'door' for jobs of type room.",
    ]
    routing = router.route(Offer(metadata=said(agent="third")))
    assert routing.refusal is not None
    assert routing.refusal.message == "Unknown agent 'third' requested via job metadata."
    assert routing.steps[-1].said == (
        "it names third, which is in the pool for dispatch name 'desk', jobs of type publisher"
    )
    for answer in (Routed(number=1, agent="second"), Routed(number=1, agent="third")):
        assert refused(router, Offer(), answer)[0] is Reason.ROUTER


def test_a_program_that_answers_alone_has_its_metadata_to_itself() -> None:
    router = Router([AgentSpec(name="desk", dispatch="desk"), AgentSpec(name="hall"), AgentSpec(name="yard")])
    foreign = said(agent="gpt-5")
    assert chosen(router, Offer(dispatch="desk", metadata=foreign, room_metadata=foreign)) == ("desk", Rule.FIRST)
    assert refused(router, Offer(metadata=foreign))[0] is Reason.UNKNOWN_AGENT
    named = Offer(dispatch="desk", attributes={"greenroom.agent": "gpt-5"})
    assert refused(router, named)[0] is Reason.UNKNOWN_AGENT
    assert refused(Router(cast("desk")), Offer(metadata=foreign))[0] is Reason.UNKNOWN_AGENT


class TestOnlyRegisteredRooms:
    ROUTER = Router(cast(), only_registered_rooms=True)

    @pytest.mark.parametrize(
        "offer",
        [
            Offer(room="dental-1"),
            Offer(metadata=said(agent="dental")),
            Offer(room_metadata=said(demo="dental")),
            Offer(attributes={"greenroom.agent": "dental"}),
        ],
    )
    def test_what_names_one_of_ours_is_taken(self, offer: Offer) -> None:
        assert chosen(self.ROUTER, offer)[0] == "dental"

    @pytest.mark.parametrize(
        "offer",
        [
            Offer(),
            Offer(room="lobby"),
            Offer(room="dental-1", metadata=said(agent="billing")),
            Offer(room="dental-1", room_metadata=said(agent="billing")),
            Offer(metadata=said(agent="billing"), room_metadata=said(agent="dental")),
            Offer(room="dental-1", attributes={"greenroom.agent": "billing"}),
        ],
    )
    def test_what_names_none_or_one_of_another_pool_is_not_ours(self, offer: Offer) -> None:
        assert refused(self.ROUTER, offer)[0] is Reason.NOT_OURS

    def test_a_router_names_one_too(self) -> None:
        assert chosen(self.ROUTER, Offer(room="lobby"), Routed(number=1, agent="sales"))[0] == "sales"

    def test_so_does_the_dispatch_of_a_program_by_its_own_name(self) -> None:
        agents = [AgentSpec(name="desk", dispatch="desk"), AgentSpec(name="hall"), *cast("menu", dispatch="food")]
        router = Router(agents, only_registered_rooms=True)
        assert chosen(router, Offer(dispatch="desk")) == ("desk", Rule.FIRST)
        for dispatch in ("", "food"):
            assert refused(router, Offer(dispatch=dispatch))[0] is Reason.NOT_OURS
        foreign = Offer(dispatch="desk", metadata=said(agent="billing"))
        assert refused(router, foreign)[0] is Reason.NOT_OURS


class TestCapabilities:
    ROUTER = Router(
        [
            *cast("reader", capabilities=("german",)),
            *cast("clerk", capabilities=("german", "refunds")),
            *cast("chief", capabilities=("refunds", "german", "legal")),
        ]
    )

    @staticmethod
    def asking(words: str, **fields: Any) -> Offer:
        return Offer(attributes={"greenroom.capabilities": words}, **fields)

    @pytest.mark.parametrize(
        ("words", "name"),
        [("german", "reader"), ("german,refunds", "clerk"), (" refunds , german,refunds", "clerk"), ("legal", "chief")],
    )
    def test_the_first_agent_with_all_of_them_is_taken(self, words: str, name: str) -> None:
        assert chosen(self.ROUTER, self.asking(words, metadata=said(agent="reader"))) == (name, Rule.CAPABILITIES)

    @pytest.mark.parametrize(
        ("sessions", "name"),
        [
            ({"clerk": 2, "chief": 1}, "chief"),
            ({"clerk": 2, "chief": 2}, "clerk"),
            ({"chief": 1}, "clerk"),
            ({"clerk": 1}, "chief"),
            ({"clerk": 1, "chief": 1, "reader": 0}, "clerk"),
        ],
    )
    def test_of_several_the_one_with_the_fewest_sessions_is_taken(self, sessions: dict[str, int], name: str) -> None:
        routing = self.ROUTER.route(self.asking("refunds"), sessions=sessions)
        assert routing.agent is not None
        assert routing.agent.name == name
        loads = f"(clerk {sessions.get('clerk', 0)}, chief {sessions.get('chief', 0)})"
        assert routing.steps[-1].said == (
            f"asked for refunds: {name} has all, and of those that do it has the fewest sessions {loads}; "
            "reader lacks refunds"
        )

    def test_a_refusal_says_who_lacks_what(self) -> None:
        assert refused(self.ROUTER, self.asking("legal, french", room="reader-1")) == (
            Reason.CAPABILITY,
            "No agent of the pool has all of: legal, french. "
            "reader lacks legal, french; clerk lacks legal, french; chief lacks french.",
        )

    def test_a_named_agent_goes_before_them(self) -> None:
        offer = Offer(attributes={"greenroom.capabilities": "legal", "greenroom.agent": "reader"})
        assert chosen(self.ROUTER, offer) == ("reader", Rule.AGENT_ATTRIBUTE)


def test_every_rule_that_was_tried_is_told_in_words() -> None:
    routing = Router(cast("sales", "sales-eu", dispatch="shop")).route(
        Offer(dispatch="shop", room="sales-eu-123", metadata="hello", room_metadata=said(tenant="acme")),
        Routed(number=1),
    )
    assert explain(routing) == [
        "1. dispatch: dispatch name 'shop', jobs of type room: sales, sales-eu",
        "2. router: it left the choice open",
        "3. agent attribute: no attribute greenroom.agent",
        "4. capabilities: no attribute greenroom.capabilities",
        "5. job metadata: it is not a JSON object, or an empty one",
        "6. room metadata: it names no agent under 'agent' or 'demo'",
        "7. room name: 'sales-eu-123' begins with sales-eu-, the longest of sales-, sales-eu-",
        "-> sales-eu (by room name)",
    ]


def test_a_refusal_ends_the_explanation() -> None:
    routing = Router(cast()).route(Offer(metadata=said(demo="billing")))
    assert explain(routing)[-2:] == [
        "5. job metadata: it names 'billing', which is no agent of the pool",
        "-> refused: Unknown agent 'billing' requested via job metadata.",
    ]


def test_the_last_resort_is_told_too() -> None:
    assert explain(Router(cast()).route(Offer(room="lobby")))[-3:] == [
        "7. room name: 'lobby' begins with no agent's name and '-'",
        "8. first registered: restaurant",
        "-> restaurant (by first registered)",
    ]


@given(name=st.text(min_size=1).filter(lambda text: bool(text.strip())))
def test_no_name_of_a_stranger_can_garble_a_terminal_or_a_message(name: str) -> None:
    routing = Router(cast()).route(Offer(metadata=said(agent=name)))
    for line in explain(routing):
        assert line.isprintable()
        assert len(line) < 400
        line.encode()


@given(
    text=st.text(),
    attributes=st.dictionaries(st.sampled_from(["greenroom.agent", "greenroom.capabilities"]), st.text()),
)
def test_nothing_in_an_offer_makes_routing_fail(text: str, attributes: dict[str, str]) -> None:
    offer = Offer(room=text, metadata=text, room_metadata=text, attributes=attributes)
    routing = Router(cast()).route(offer)
    assert (routing.agent is None) != (routing.refusal is None)


@pytest.mark.parametrize(
    ("offer", "tenant"),
    [
        (Offer(), "default"),
        (Offer(metadata=said(tenant="acme")), "acme"),
        (Offer(metadata=said(tenant=" acme ")), "acme"),
        (Offer(metadata=said(tenant=17)), "17"),
        (Offer(metadata=said(tenant=0)), "0"),
        (Offer(metadata=said(tenant="a" * 128)), "a" * 128),
        (Offer(metadata="acme"), "default"),
        (Offer(room_metadata=said(tenant="acme")), "acme"),
        (Offer(metadata=said(tenant="acme"), room_metadata=said(tenant="globex")), "acme"),
        (Offer(metadata=said(tenant=None), room_metadata=said(tenant="globex")), "globex"),
        (Offer(metadata=said(tenant=" "), room_metadata=said(tenant="globex")), "globex"),
        (Offer(attributes={"greenroom.tenant": "initech"}, metadata=said(tenant="acme")), "initech"),
        (Offer(attributes={"greenroom.tenant": ""}, metadata=said(tenant="acme")), "acme"),
    ],
)
def test_a_call_is_of_the_tenant_that_is_said_first(offer: Offer, tenant: str) -> None:
    assert tenant_of(offer) == tenant


@pytest.mark.parametrize(
    ("offer", "source"),
    [
        (Offer(metadata=said(tenant="a b")), "job metadata"),
        (Offer(metadata=said(tenant="a" * 129)), "job metadata"),
        (Offer(metadata=said(tenant="acme\n\nx")), "job metadata"),
        (Offer(metadata=said(tenant="ácme")), "job metadata"),
        (Offer(metadata=said(tenant=True)), "job metadata"),
        (Offer(metadata=said(tenant=1.5)), "job metadata"),
        (Offer(metadata=said(tenant=["acme"])), "job metadata"),
        (Offer(metadata=said(tenant=10**128)), "job metadata"),
        (Offer(metadata=said(tenant="../x"), room_metadata=said(tenant="acme")), "job metadata"),
        (Offer(room_metadata=said(tenant="a/b")), "room metadata"),
        (Offer(attributes={"greenroom.tenant": "a/b"}, metadata=said(tenant="acme")), "attribute greenroom.tenant"),
    ],
)
def test_what_cannot_be_a_tenant_is_refused_and_no_other_is_taken_instead(offer: Offer, source: str) -> None:
    refusal = tenant_of(offer)
    assert not isinstance(refusal, str)
    assert refusal.reason is Reason.BAD_TENANT
    assert refusal.message == f"The tenant in {source} must be 1-128 of A-Z, a-z, 0-9, '-' and '_'."


def test_an_offer_is_read_from_livekits_job() -> None:
    from livekit.protocol import agent, models  # noqa: PLC0415

    job = agent.Job(
        id="AJ_1",
        type=agent.JobType.JT_PUBLISHER,
        room=models.Room(name="lobby", metadata="of the room"),
        metadata="of the job",
        agent_name="desk",
        attributes={"greenroom.tenant": "acme"},
    )
    assert Offer.of(job) == Offer(
        job_id="AJ_1",
        room="lobby",
        room_metadata="of the room",
        metadata="of the job",
        attributes={"greenroom.tenant": "acme"},
        dispatch="desk",
        job_type=1,
    )
