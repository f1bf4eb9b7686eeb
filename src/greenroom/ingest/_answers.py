"""What senders are told: OTLP's own responses, and refusals as ``google.rpc.Status`` with ``RetryInfo``."""

from __future__ import annotations

import math
from typing import Final

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from starlette.responses import Response

from greenroom.ingest._errors import UploadError

PROTOBUF: Final = "application/x-protobuf"


def accepted(message: Message | None = None) -> Response:
    """Answer that everything is stored."""
    return Response(b"" if message is None else message.SerializeToString(), media_type=PROTOBUF)


def refused(error: UploadError) -> Response:
    """Answer a refusal. LiveKit's SDKs and OTLP exporters try again when it says after how long."""
    status = Status(code=error.grpc_code, message=str(error))
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after * 1000))
        status.details.add().Pack(retry)
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return Response(status.SerializeToString(), status_code=error.status, media_type=PROTOBUF, headers=headers)
