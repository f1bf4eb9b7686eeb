"""Refusals of uploads: each with the HTTP status and the gRPC code it is answered with."""

from __future__ import annotations

from typing import ClassVar, Final

from greenroom.errors import GreenroomError

RETRY_AFTER: Final = 2.0


class UploadError(GreenroomError):
    """An upload is refused.

    ``status`` is HTTP's and ``grpc_code`` gRPC's, for the ``google.rpc.Status`` in the body. ``retry_after`` is in
    seconds; ``None`` tells the sender not to try again.
    """

    code = "upload_refused"
    status: ClassVar[int] = 400
    grpc_code: ClassVar[int] = 3
    retry_after: float | None = None


class UploadInvalidError(UploadError):
    """An upload cannot be read: not gzip, not OTLP, not multipart, or without what it must name."""

    code = "upload_invalid"


class UploadUnauthorizedError(UploadError):
    """The token is missing, wrong or expired."""

    code = "upload_unauthorized"
    status = 401
    grpc_code = 16


class UploadForbiddenError(UploadError):
    """The token, or its key's policy, does not allow the upload."""

    code = "upload_forbidden"
    status = 403
    grpc_code = 7


class RecordingDisabledError(UploadError):
    """Nothing is recorded here. The text is what makes LiveKit's SDKs stop uploading."""

    code = "recording_disabled"
    status = 401
    grpc_code = 16

    def __init__(self) -> None:
        super().__init__("data recording is disabled by owner", fix="Switch recording on in the configuration")


class UploadTooLargeError(UploadError):
    """An upload is larger than its limit, as sent or once decompressed."""

    code = "upload_too_large"
    status = 413
    grpc_code = 8


class UploadBusyError(UploadError):
    """There is no room for an upload now. Its sender tries again."""

    code = "upload_busy"
    status = 503
    grpc_code = 14

    def __init__(self, message: str, *, fix: str = "", retry_after: float = RETRY_AFTER) -> None:
        super().__init__(message, fix=fix)
        self.retry_after = retry_after


class UploadRateError(UploadBusyError):
    """An API key uploads more often than it may. Its sender tries again."""

    code = "upload_rate"
    status = 429
    grpc_code = 8
