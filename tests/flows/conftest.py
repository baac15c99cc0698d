"""One Prefect server for all flows that run in this process: it takes ten seconds to start."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """Prefect's own test server."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=400):
        yield


@pytest.fixture
def page(server: None) -> Callable[[Any], dict[str, Any]]:
    """Return what stands on a flow run's page: artifacts by their keys, tables as rows."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
    )

    async def read(run: Any) -> list[Any]:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        async with get_client() as client:
            return await client.read_artifacts(artifact_filter=wanted)

    # What has no key is Prefect's own.
    return lambda run: {one.key: one.data for one in asyncio.run(read(run)) if one.key}
