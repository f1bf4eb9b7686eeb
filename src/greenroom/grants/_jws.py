"""Compact JWS with HS256, the only kind LiveKit issues (RFC 7515; ``protocol/auth/verifier.go``).

Everything that touches PyJWT is here. Only its signing layer is used: it reads the wall clock for the
time claims, ours are checked against a clock that tests can move.
"""

from __future__ import annotations

from typing import Any, Final

from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidAlgorithmError, InvalidSignatureError, PyJWTError

from greenroom.errors import TokenError

_ALGORITHM: Final = "HS256"


class _Hmac(HMACAlgorithm):
    """HMAC without the warning about short keys: LiveKit's development secret has six bytes."""

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 - the signature is PyJWT's
        return None


def _signer() -> PyJWS:
    jws = PyJWS(algorithms=[])
    jws.register_algorithm(_ALGORITHM, _Hmac(HMACAlgorithm.SHA256))
    return jws


_jws: Final = _signer()


def sign(payload: bytes, secret: str) -> str:
    """Return ``payload`` as a signed compact token."""
    try:
        return _jws.encode(payload, secret, algorithm=_ALGORITHM, headers={"typ": "JWT"})
    except PyJWTError as error:
        raise TokenError(f"The API secret cannot sign a token: {error}") from error


def read_unverified(token: str) -> bytes:
    """Return the payload without looking at the signature: only good for choosing the key."""
    payload: bytes = _decode(token, "", options={"verify_signature": False})
    return payload


def read(token: str, secret: str) -> bytes:
    """Return the payload of a token that ``secret`` signed. Raises :class:`TokenError`."""
    payload: bytes = _decode(token, secret, algorithms=[_ALGORITHM])
    return payload


def _decode(token: str, secret: str, **arguments: Any) -> Any:
    try:
        return _jws.decode_complete(token, secret, **arguments)["payload"]
    except InvalidSignatureError:
        raise TokenError("invalid authorization token: the signature does not match the API key") from None
    except InvalidAlgorithmError:
        raise TokenError("invalid authorization token: only HS256 is accepted") from None
    except (PyJWTError, UnicodeError, ValueError, TypeError, AttributeError):
        raise TokenError("invalid authorization token: not a signed JWT") from None
