"""Client metrics on the server's clock."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from livekit.protocol import metrics


def normalize(batch: metrics.MetricsBatch, now: float) -> None:
    """Set the normalized timestamps of a batch: the client's, shifted so that the batch was made now.

    :param now: seconds since the epoch.
    """
    shift = int(now * 1000) - batch.timestamp_ms
    _set(batch.normalized_timestamp, batch.timestamp_ms, shift)
    for series in batch.time_series:
        for sample in series.samples:
            _set(sample.normalized_timestamp, sample.timestamp_ms, shift)
    for event in batch.events:
        _set(event.normalized_start_timestamp, event.start_timestamp_ms, shift)
        if event.HasField("end_timestamp_ms"):
            _set(event.normalized_end_timestamp, event.end_timestamp_ms, shift)


def _set(timestamp: Timestamp, milliseconds: int, shift: int) -> None:
    try:
        timestamp.FromMilliseconds(milliseconds + shift)
    except ValueError:
        # A client's clock can be out of the range of a timestamp; its own number is still there.
        timestamp.Clear()
