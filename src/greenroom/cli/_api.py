"""Asking a control plane's API from a command."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from greenroom.cli._options import ApiOptions
from greenroom.cli._settings import ApiTarget, api_target
from greenroom.errors import GreenroomError

_Answer = TypeVar("_Answer")

# Longer than the feed's heartbeat, which comes every ten seconds.
_PATIENCE: Final = 30.0
_CHUNK: Final = 256 * 1024
_LONGEST_PROBLEM: Final = 1 << 20
_LOGIN: Final = "Run greenroom login --token where its API key is, and pass what it prints as GREENROOM_TOKEN"


class ApiError(GreenroomError):
    """The control plane cannot be asked, or refused. ``status`` is 0 when no answer came."""

    code = "api_failed"

    def __init__(self, message: str, *, fix: str = "", status: int = 0, problem: str = "") -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.problem = problem


class _Problem(msgspec.Struct, frozen=True):
    title: str = ""
    detail: str = ""
    code: str = ""
    fix: str = ""


class Api:
    """The API of one control plane. Blocks; every error is an :class:`ApiError`."""

    def __init__(self, target: ApiTarget) -> None:
        self.url = target.url
        self._token = target.token

    @classmethod
    def of(cls, options: ApiOptions) -> Api:
        """Return the API that the options name. Raises :class:`ConfigError`."""
        return cls(api_target(options))

    def get(self, path: str, kind: type[_Answer], **asked: Any) -> _Answer:
        """Return what is at a path, as a ``kind``; parameters that are ``None`` are not sent."""
        body = self.raw(path, **asked)
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise self._stranger(f"its answer is not what was asked for: {error}") from None

    def raw(self, path: str, **asked: Any) -> bytes:
        """Return what is at a path, as it is sent."""
        with self.open(path, **asked) as answer, self._errors():
            return answer.read()

    @contextlib.contextmanager
    def open(self, path: str, **asked: Any) -> Iterator[http.client.HTTPResponse]:
        """Open what is at a path, to be read by and by."""
        parts = urlsplit(self.url)
        opener = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        query = urlencode({name: _word(value) for name, value in asked.items() if value is not None}, doseq=True)
        target = f"{parts.path}/api{path}" + (f"?{query}" if query else "")
        headers = {"Accept": "*/*"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        connection = opener(parts.hostname or "", parts.port, timeout=_PATIENCE)
        with contextlib.closing(connection):
            with self._errors():
                connection.request("GET", target, headers=headers)
                answer = connection.getresponse()
                if answer.status != http.HTTPStatus.OK:
                    self._refused(answer)
            yield answer

    def download(self, path: str) -> Iterator[bytes]:
        """Yield what is at a path, by and by."""
        with self.open(path) as answer, self._errors():
            while part := answer.read(_CHUNK):
                yield part

    def events(self, **asked: Any) -> Iterator[tuple[str, Any]]:
        """Yield the name and the data of each event that ``/api/events`` tells, until it ends."""
        with self.open("/events", **asked) as answer, self._errors():
            name = ""
            while line := answer.readline():
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, msgspec.json.decode(value)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError:
            raise ApiError(
                f"Nothing listens at {self.url}",
                fix="Start greenroom dev or greenroom control, or name one with --url",
            ) from None
        except TimeoutError:
            raise ApiError(f"{self.url} does not answer", fix="Check --url, and the firewall on the way") from None
        except OSError as error:
            raise ApiError(f"Cannot reach {self.url}: {error.strerror or error}", fix="Check --url") from None
        except http.client.IncompleteRead:
            raise ApiError(f"{self.url} broke off its answer", fix="Try again; its log says why") from None
        except (http.client.HTTPException, ValueError):
            raise self._stranger("it does not speak HTTP") from None

    def _refused(self, answer: http.client.HTTPResponse) -> NoReturn:
        body = answer.read(_LONGEST_PROBLEM)
        if answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ApiError(
                f"{self.url} failed: it answers {answer.status}", fix="Its log says why", status=answer.status
            )
        if answer.headers.get_content_type() != "application/problem+json":
            raise self._stranger(f"it answers {answer.status}")
        try:
            problem = msgspec.json.decode(body, type=_Problem)
        except msgspec.MsgspecError:
            raise self._stranger(f"it answers {answer.status}") from None
        message, fix = problem.detail or problem.title, problem.fix
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            message, fix = f"{self.url} asks who you are: {message}", _LOGIN
        elif problem.code == "not_found":
            raise self._stranger("it has no control plane")
        raise ApiError(message, fix=fix, status=answer.status, problem=problem.code)

    def _stranger(self, why: str) -> ApiError:
        return ApiError(
            f"{self.url} is not Greenroom's control plane: {why}",
            fix="Name greenroom dev or greenroom control with --url, for example --url http://127.0.0.1:7870",
        )


def path_of(*parts: str) -> str:
    """Return a path of these parts, whatever characters they hold."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def print_json(value: object) -> None:
    """Print one line of JSON."""
    print(msgspec.json.encode(value).decode(), flush=True)


def _word(value: Any) -> str | Sequence[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, list | tuple) else str(value)
