"""Remote procedure calls between ``livekit-client`` and the Python SDK."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc

from support.livekit_client import ClientError

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]

CALL = "room.localParticipant.performRpc({destinationIdentity: 'python', ...arg})"


@pytest.mark.parametrize("size", [5, 14_000], ids=["short", "14 kB"])
async def test_the_browser_calls_python(stage, size) -> None:
    peer = await stage.peer()

    async def echo(call: rtc.RpcInvocationData) -> str:
        return f"{call.caller_identity}:{call.payload}"

    peer.me.register_rpc_method("echo", echo)
    web = await stage.client("web")
    assert await web.run(CALL, {"method": "echo", "payload": "x" * size}) == "web:" + "x" * size


async def test_python_calls_the_browser(stage) -> None:
    web = await stage.client("web")
    await web.run(
        "room.registerRpcMethod('greet', async ({callerIdentity, payload}) => `${callerIdentity} ${payload}`)"
    )
    peer = await stage.peer()
    answer = await peer.me.perform_rpc(destination_identity="web", method="greet", payload="hello")
    assert answer == "python hello"


async def test_an_error_of_the_method_keeps_its_code_and_data(stage) -> None:
    peer = await stage.peer()

    async def refuse(_call: rtc.RpcInvocationData) -> str:
        raise rtc.RpcError(101, "not today", "try tomorrow")

    peer.me.register_rpc_method("book", refuse)
    web = await stage.client("web")
    with pytest.raises(ClientError) as refused:
        await web.run(CALL, {"method": "book", "payload": ""})
    assert (refused.value.code, refused.value.message, refused.value.data) == (101, "not today", "try tomorrow")


async def test_a_method_nobody_registered_is_unsupported(stage) -> None:
    await stage.peer()
    web = await stage.client("web")
    with pytest.raises(ClientError) as refused:
        await web.run(CALL, {"method": "nothing", "payload": ""})
    assert refused.value.code == 1400


async def test_python_is_told_of_a_recipient_that_left_before_it_answered(stage) -> None:
    web = await stage.client("web")
    await web.run("room.registerRpcMethod('wait', () => { report('called', []); return new Promise(() => {}); })")
    peer = await stage.peer()

    call = asyncio.create_task(peer.me.perform_rpc(destination_identity="web", method="wait", payload=""))
    await web.next("called")
    await web.disconnect()
    with pytest.raises(rtc.RpcError) as lost:
        await call
    assert lost.value.code == rtc.RpcError.ErrorCode.RECIPIENT_DISCONNECTED
