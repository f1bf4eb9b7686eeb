"""Tokens: what is accepted, what is refused, and the sentences a 401 carries."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.grants import Claims, Grant, VideoGrant, mint, read_http_token, verify

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")
OTHER = ApiKey(key="other", secret="another secret that is long enough to please")
NOW = 1_800_000_000.0


def signed(claims: dict[str, Any], *, secret: str = KEY.secret, algorithm: str = "HS256") -> str:
    complete = {"iss": KEY.key, "exp": NOW + 60, **claims}
    expected = pytest.warns(jwt.InsecureKeyLengthWarning) if secret == KEY.secret else contextlib.nullcontext()
    with expected:
        return jwt.encode(complete, secret, algorithm=algorithm)


def check(token: str, *keys: ApiKey, now: float = NOW) -> Grant:
    return verify(token, keys or (KEY,), now=now)


def test_a_minted_token_is_verified_with_all_it_says() -> None:
    token = mint(KEY, identity="ann", name="Ann", video=VideoGrant(room_join=True, room="lobby"), now=NOW)
    claims = check(token).claims
    assert (claims.identity, claims.name, claims.issuer) == ("ann", "Ann", "devkey")
    assert claims.video is not None
    assert (claims.video.room_join, claims.video.room) == (True, "lobby")
    assert claims.expires_at == NOW + 6 * 3600
    assert claims.not_before == NOW


def test_fields_are_laid_over_the_claims_given() -> None:
    base = Claims(identity="ann", metadata="old", video=VideoGrant(room_join=True, room="lobby"))
    claims = check(mint(KEY, base, metadata="new", now=NOW)).claims
    assert (claims.identity, claims.metadata) == ("ann", "new")
    assert claims.video == base.video


def test_the_secret_is_chosen_by_the_issuer() -> None:
    token = mint(OTHER, identity="ann", now=NOW)
    assert check(token, KEY, OTHER).key == OTHER
    assert verify(token, {key.key: key for key in (KEY, OTHER)}, now=NOW).key == OTHER


def test_an_unknown_issuer_is_an_invalid_api_key() -> None:
    with pytest.raises(TokenError) as caught:
        check(mint(OTHER, now=NOW))
    assert caught.value.message == "invalid API key"


def test_a_token_without_an_issuer_is_an_invalid_api_key() -> None:
    with pytest.raises(TokenError, match=r"^invalid API key"):
        check(signed({"iss": ""}))


def test_a_token_signed_with_another_secret_is_refused() -> None:
    with pytest.raises(TokenError, match="signature"):
        check(signed({}, secret="not the secret, but long enough to please"))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_only_hs256_is_accepted(algorithm: str) -> None:
    with pytest.raises(TokenError, match="only HS256"):
        check(signed({}, algorithm=algorithm))


def test_an_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode({"iss": KEY.key, "exp": NOW + 60}, None, algorithm="none")
    with pytest.raises(TokenError, match="only HS256"):
        check(unsigned)


@pytest.mark.parametrize(
    ("at", "accepted"),
    [(NOW, True), (NOW + 60, True), (NOW + 120, True), (NOW + 120.1, False), (NOW + 1e9, False)],
)
def test_expiry_has_a_minute_of_leeway(at: float, accepted: bool) -> None:
    token = mint(KEY, ttl=60, now=NOW)
    if accepted:
        check(token, now=at)
    else:
        with pytest.raises(TokenError, match="expired"):
            check(token, now=at)


def test_a_clock_behind_the_minter_by_a_minute_is_forgiven() -> None:
    token = mint(KEY, now=NOW)
    check(token, now=NOW - 60)
    with pytest.raises(TokenError, match="not valid yet"):
        check(token, now=NOW - 61)


def test_a_token_without_expiry_is_refused() -> None:
    with pytest.raises(TokenError, match="no expiry"):
        check(signed({"exp": None}))


def test_the_wall_clock_counts_when_no_time_is_given() -> None:
    assert verify(mint(KEY, identity="ann"), (KEY,)).claims.identity == "ann"
    with pytest.raises(TokenError, match="expired"):
        verify(mint(KEY, now=NOW - 1e9), (KEY,))


def test_a_token_without_subject_is_identified_by_its_jti() -> None:
    assert check(signed({"jti": "ann", "identity": "mallory"})).claims.identity == "ann"
    assert check(signed({"jti": "bob", "sub": "ann"})).claims.identity == "ann"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": 5},
        {"video": []},
        {"video": {"roomJoin": "yes"}},
        {"video": {"canPublishSources": "camera"}},
        {"attributes": {"a": 1}},
        {"attributes": ["a"]},
        {"exp": "tomorrow"},
        {"nbf": {}},
        {"kindDetails": "cloud_agent"},
        {"roomConfig": "agents"},
        {"roomConfig": {"agents": "front-desk"}},
        {"roomConfig": {"emptyTimeout": "soon"}},
        {"roomConfig": {"emptyTimeout": -1}},
    ],
)
def test_claims_of_the_wrong_shape_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenError, match=r"^invalid authorization token: "):
        check(signed(claims))


@pytest.mark.parametrize("payload", [b"", b"[]", b"5", b'"x"', b"{", b"\xff", b"[" * 100_000, b'{"iss":"\\ud800"}'])
def test_a_payload_that_is_not_an_object_is_refused(payload: bytes) -> None:
    segments = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"HS256"}', payload, b"x")]
    with pytest.raises(TokenError, match=r"^invalid"):
        check(".".join(segments))


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_any_text_is_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        check(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_names = st.sampled_from(
    ["sub", "jti", "exp", "nbf", "video", "sip", "agent", "attributes", "kind", "kindDetails", "roomConfig", "metadata"]
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(_names, _json))
def test_any_signed_claims_are_read_or_a_token_error(claims: dict[str, Any]) -> None:
    payload = json.dumps({"iss": KEY.key, "exp": NOW, **claims}).encode()
    token = jwt.PyJWS().encode(payload, OTHER.secret, algorithm="HS256")
    with contextlib.suppress(TokenError):
        verify(token, {KEY.key: OTHER}, now=NOW)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    token = mint(KEY, identity="ann", now=NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda character: character != token[at]))
    with pytest.raises(TokenError):
        check(token[:at] + other + token[at + 1 :])


def test_the_header_wins_over_the_query() -> None:
    assert read_http_token({"authorization": "Bearer one"}, {"access_token": "two"}) == "one"
    assert read_http_token({}, {"access_token": "two"}) == "two"
    assert read_http_token({}, {}) is None
    assert read_http_token({}, {"access_token": ""}) is None


@pytest.mark.parametrize("header", ["Basic eA==", "bearer token", "token", "Bearer"])
def test_a_header_of_another_scheme_is_refused_even_beside_a_query_token(header: str) -> None:
    with pytest.raises(TokenError) as caught:
        read_http_token({"authorization": header}, {"access_token": "two"})
    assert caught.value.message == "invalid authorization header. Must start with Bearer "


def test_a_key_without_policy_allows_everything() -> None:
    grant = check(mint(KEY, now=NOW))
    assert grant.allows_room("any")
    assert grant.allows_agent("")


def test_a_key_allows_what_its_patterns_match() -> None:
    key = ApiKey(key="k", secret="s", rooms=("lobby", "front-*"), agents=())
    grant = verify(mint(key, now=NOW), (key,), now=NOW)
    assert [name for name in ("lobby", "front-1", "Lobby", "back", "") if grant.allows_room(name)] == [
        "lobby",
        "front-1",
    ]
    assert not grant.allows_agent("")
    assert not grant.allows_agent("front-desk")


def test_a_token_error_never_repeats_the_secret() -> None:
    for token in (mint(OTHER, now=NOW), signed({}, secret=OTHER.secret), "x.y.z"):
        with pytest.raises(TokenError) as caught:
            check(token)
        assert KEY.secret not in str(caught.value)
        assert OTHER.secret not in str(caught.value)
