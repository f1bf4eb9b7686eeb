"""The HTTP client against a server that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from greenroom.httpclient import AddressRefusedError, HttpClient, HttpError, Reach

pytestmark = pytest.mark.unit

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Origin:
    """A server that answers each request with the next of ``answers``; ``None`` closes the connection."""

    def __init__(self, *answers: bytes | None, closes: bool = False) -> None:
        self.answers = list(answers)
        self.closes = closes
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if self.closes or (b"Length" not in answer and b"chunked" not in answer):
                    break
            else:
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def origin(*answers: bytes | None, closes: bool = False) -> AsyncIterator[Origin]:
    made = Origin(*answers, closes=closes)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., HttpClient]]:
    made: list[HttpClient] = []

    def make(**options: object) -> HttpClient:
        made.append(HttpClient(**options))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


async def test_a_request_carries_its_method_target_headers_and_body(client):
    async with origin(OK) as there:
        response = await client().request("POST", f"{there.url}/a/b?c=d", headers={"x-one": "1"}, body=b"body")
        assert (response.status, response.body, response.is_success) == (200, b"hi", True)
        (request,) = there.requests
        assert request.startswith(b"POST /a/b?c=d HTTP/1.1\r\nhost: 127.0.0.1:")
        assert b"\r\nx-one: 1\r\n" in request
        assert request.endswith(b"\r\n\r\nbody")


async def test_a_connection_is_used_again(client):
    async with origin(OK, OK, OK) as there:
        http = client()
        for _ in range(3):
            await http.request("GET", there.url)
        assert there.connections == 1


async def test_a_kept_connection_that_is_dead_costs_nothing(client):
    async with origin(OK, None, OK) as there:
        http = client()
        await http.request("GET", there.url)
        assert (await http.request("GET", there.url)).status == 200
        assert there.connections == 2


async def test_a_new_connection_that_closes_without_an_answer_is_an_error(client):
    async with origin(None) as there:
        with pytest.raises(HttpError, match="closed before an answer came"):
            await client().request("GET", there.url)
        assert there.connections == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", b"hi!"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
async def test_every_way_to_end_a_body_is_understood(client, answer, body):
    async with origin(answer) as there:
        assert (await client().request("GET", there.url)).body == body


async def test_headers_are_lower_case_and_statuses_are_the_callers_business(client):
    async with origin(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n") as there:
        response = await client().request("GET", there.url)
        assert (response.status, response.headers["location"]) == (302, "http://10.0.0.1/")
        assert not response.is_success


async def test_half_an_answer_is_an_error(client):
    async with origin(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", closes=True) as there:
        with pytest.raises(HttpError, match="in the middle of the answer"):
            await client().request("GET", there.url)


async def test_what_is_not_http_is_an_error(client):
    async with origin(b"SSH-2.0-OpenSSH\r\n") as there:
        with pytest.raises(HttpError, match="not HTTP"):
            await client().request("GET", there.url)


async def test_an_answer_that_is_too_large_is_refused(client):
    async with origin(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + bytes(900)) as there:
        with pytest.raises(HttpError, match="larger than 500 bytes"):
            await client(max_response=500).request("GET", there.url)


async def test_no_answer_in_time_is_an_error(client):
    async with origin(OK) as there:
        there.answers.clear()
        with pytest.raises(HttpError, match=r"127\.0\.0\.1 did not answer within 0\.05 s"):
            await client(timeout=0.05).request("GET", there.url)


async def test_nobody_there_is_an_error(client):
    async with origin() as there:
        url = there.url
    with pytest.raises(HttpError, match="Cannot reach 127"):
        await client().request("GET", url)


async def test_an_address_out_of_reach_is_never_connected_to(client):
    async with origin(OK) as there:
        with pytest.raises(AddressRefusedError):
            await client(reach=Reach.PUBLIC).request("GET", there.url)
        assert there.connections == 0


@pytest.mark.parametrize("url", ["ftp://h/", "http://", "http://u:p@h/", "http://h:0/", "http://h:99999/", "nonsense"])
async def test_what_is_not_an_address_says_so(client, url):
    with pytest.raises(HttpError, match="not an HTTP URL"):
        await client().request("GET", url)


async def test_a_header_cannot_smuggle_another(client):
    with pytest.raises(HttpError, match="control character"):
        await client().request("GET", "http://127.0.0.1/", headers={"a": "b\r\nc: d"})
