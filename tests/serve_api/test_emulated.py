"""An emulated model: batches take what a profile says, and the server around them is the usual one."""

import asyncio
from statistics import fmean

import numpy as np
import pytest
from serving import alive, ask, instances, service_of

from capacity.errors import DomainError, InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from serve_api.server import backend
from serve_api.server.backend import Emulated, warm_up
from serve_api.server.settings import read_settings

PROFILE = ServiceProfile(
    name="slow",
    timings=(
        BatchTiming(batch_size=1, mean_s=0.010, p50_s=0.009, p99_s=0.020),
        BatchTiming(batch_size=4, mean_s=0.016, p50_s=0.015, p99_s=0.030),
    ),
)


@pytest.fixture
def slept_s(monkeypatch):
    """How long the model would have slept."""
    found = []
    monkeypatch.setattr(backend.time, "sleep", found.append)
    return found


def test_batches_take_draws_from_the_law_of_their_size(slept_s):
    model, law = Emulated(PROFILE, 4), PROFILE.law(2)
    for _ in range(4000):
        model.predict(np.zeros((2, 1), dtype=np.float32))
    error_s = law.mean_s * law.scv**0.5 / 4000**0.5
    assert fmean(slept_s) == pytest.approx(law.mean_s, abs=5 * error_s)
    assert np.mean(np.array(slept_s) <= law.quantile_s(0.5)) == pytest.approx(0.5, abs=0.04)
    assert law.quantile_s(0.0) <= min(slept_s) < max(slept_s) <= law.quantile_s(1.0)


def test_it_is_warmed_up_and_answers_as_any_model(slept_s):
    model = Emulated(PROFILE, 4)
    warm_up(model, 4)

    async def answer():
        service = service_of(model, batch_size_max=4, batch_wait_max_s=0.0)
        async with alive(service) as app:
            return await ask(app, instances([1.0], [2.0]))

    found = asyncio.run(answer())
    assert (found.status, found.headers["x-batch-size"]) == (200, "2")
    assert found.json == {"predictions": [0, 0], "probabilities": [[1.0], [1.0]], "model_version": "slow"}
    assert model.classes == 1


def test_a_profile_that_ends_before_the_largest_batch_is_refused():
    with pytest.raises(DomainError, match="does not cover 5; measure that size too"):
        Emulated(PROFILE, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either --artifacts, the folder of one model, or --emulate, a profile"),
        ({"artifacts": "models", "emulate": "slow.json"}, "give either --artifacts"),
        ({"emulate": "slow.json", "canary": "v1.0.0"}, "leave out --canary"),
    ],
)
def test_a_server_has_one_model(given, message):
    with pytest.raises(InputError, match=message):
        read_settings(given)
