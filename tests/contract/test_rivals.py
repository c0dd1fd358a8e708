"""The bench's rivals do the work that they are timed at."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from bench.answering import answering
from bench.delivery import BATCH
from bench.rivals import Batch, Rivals
from bench.throughput import SLOW_BATCHES, race
from relay.ports import Request
from tests.kinds import FAST


@pytest.mark.long
def test_every_rival_delivers_every_batch() -> None:
    """GIVEN a batch for each of them THEN none raises, and each spent something on all of it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        (run,) = alone.submit(race, 0.0, dict.fromkeys(SLOW_BATCHES, 1), 1).result()
    assert {name: spent.deliveries for name, spent in run.items()} == dict.fromkeys(SLOW_BATCHES, BATCH)
    assert all(spent.seconds > 0 and spent.busy > 0 for spent in run.values())


@pytest.mark.long
def test_what_is_not_taken_is_not_timed() -> None:
    """GIVEN a request that the provider's server does not answer with a success THEN the rival raises."""
    with answering(FAST, 0.0, "throttled") as base_url:
        request = Request("POST", f"{base_url}/", {}, b"{}")
        with pytest.raises(AssertionError, match="429"):
            Rivals(FAST, base_url).limit()(Batch({}, [request]))
