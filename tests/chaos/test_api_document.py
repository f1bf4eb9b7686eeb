"""The control plane's API under requests made from its own OpenAPI document, valid and not."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("api-document")]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run the control plane of a LiveKit server that is not there, and load its document."""
    path = tmp_path_factory.mktemp("control")
    command = [sys.executable, "-m", "greenroom", "control", "--livekit", "ws://127.0.0.1:1", "--port", "0"]
    with subprocess.Popen(command, cwd=path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        # The stream of events has no end.
        yield schemathesis.openapi.from_url(f"{url}/api/openapi.json").exclude(path="/api/events")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_every_answer_is_one_that_the_document_tells_of(document: Any) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 10
    # What has the right shape may still be refused: the end of a page of another search, a text without a word.
    for each in operations:

        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=each.as_strategy())
        def every_answer(case: Case) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        every_answer()
