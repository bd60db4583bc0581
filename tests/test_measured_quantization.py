"""Measured quantization: what eight bits did to the network that is served, read as it was printed."""

import math
from typing import Any

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.measured_quantization import (
    load_measured_quantization,
    loss_of_pairs,
    read_measured_quantization,
)
from capacity.performance import Interval
from capacity.profile_files import load_profile


def document(**study: Any) -> dict[str, Any]:
    """A study of one layer and one form: 3 of 100 labels changed, of which 2 had been right."""
    layer = {"granularity": "per channel", "norm": 4.0, "error": 0.1, "error_bound": 0.2, "memory_ratio": 3.2}
    times = {"name": "static", "batch_size": 8, "speedup": {"value": 1.5, "low": 1.4, "high": 1.7}}
    model = {"name": "static", "file_ratio": 3.9, "accuracy_before": 0.95, "accuracy": 0.94}
    made_up = {
        "test_rows": 100,
        "layers": [{**layer, "layer": "w", "shape": [16, 2]}],
        "models": [{**model, "labels_changed": 3, "model_bytes": 100}],
        "batch_times": [{**times, "median_s": 0.001}, {**times, "name": "fp32"}],
        "claims": [],
    }
    return {"source": {"date": "2026-11-26"}, "study": {**made_up, **study}}


def test_a_study_is_read_as_it_was_printed() -> None:
    found = read_measured_quantization(document(), "a.json")
    (layer,), (form,) = found.layers, found.forms
    assert found.source == {"date": "2026-11-26"}
    assert (layer.granularity, layer.shape) == ("per channel", (16, 2))
    assert (layer.norm, layer.error, layer.error_bound, layer.memory_ratio) == (4.0, 0.1, 0.2, 3.2)
    assert (form.name, form.file_ratio, form.test_rows) == ("static", 3.9, 100)
    assert (form.spoiled, form.mended) == (2, 1)
    assert form.speedups == {8: Interval(value=1.5, low=1.4, high=1.7)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_rows": None}, "a.json.study.test_rows must be a whole number, got None"),
        ({"models": [3]}, "a.json.study.models must be an object, got 3"),
        ({"models": [{"name": "static"}]}, "a.json.study.models has no key labels_changed"),
        ({"layers": [{"shape": [1, 2, 3]}]}, "shape must be inputs and outputs, got 3 numbers"),
        ({"layers": [{"shape": [1, 2.5]}]}, "a.json.study.layers.shape must be a whole number, got 2.5"),
        ({"test_rows": 1000}, "labels_changed is 3 of 1000, which cannot cost 10 right answers"),
        ({"test_rows": 2}, "labels_changed is 3 of 2, which cannot cost 0 right answers"),
        ({"test_rows": 200}, "labels_changed is 3 of 200, which cannot cost 2 right answers"),
    ],
)
def test_what_is_no_study_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_measured_quantization(document(**changed), "a.json")
    assert message in str(caught.value)


def test_a_source_or_a_study_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"a\.json has no key study"):
        read_measured_quantization({"source": {}}, "a.json")
    with pytest.raises(InputError, match="unknown key 'written'"):
        read_measured_quantization(document() | {"written": {}}, "a.json")


# ---- Accuracy -------------------------------------------------------------------------------


def test_a_loss_of_pairs_by_hand() -> None:
    """One row of 171 spoiled: (1 - 0)/173 = 0.00578, with an error of √(2 - 1/173)/173 = 0.00816."""
    found = loss_of_pairs(1, 0, 171)
    assert found.value == 1 / 171
    assert found.low == pytest.approx(1 / 173 - 1.959964 * math.sqrt(2.0 - 1 / 173) / 173)
    assert found.high == pytest.approx(1 / 173 + 1.959964 * math.sqrt(2.0 - 1 / 173) / 173)


def test_a_loss_the_other_way_round_is_a_gain_and_shares_stay_shares() -> None:
    lost, won = loss_of_pairs(7, 2, 50), loss_of_pairs(2, 7, 50)
    assert (won.low, won.value, won.high) == (-lost.high, -lost.value, -lost.low)
    every = loss_of_pairs(3, 0, 3)
    assert every.low < every.value == every.high == 1.0
    assert loss_of_pairs(0, 0, 171).value == 0.0
    assert loss_of_pairs(0, 0, 171).high > 0.005  # no change seen in 171 rows does not prove none


def test_intervals_of_losses_cover_the_truth() -> None:
    """Of 1000 sets of 171 rows, of which 3 % are spoiled and 1 % mended, 950 should; 4 errors are 28."""
    cells = np.random.default_rng(3).multinomial(171, [0.03, 0.01, 0.96], 1000)
    found = [loss_of_pairs(int(spoiled), int(mended), 171) for spoiled, mended, _ in cells]
    assert sum(x.low <= 0.02 <= x.high for x in found) >= 950 - 28


def test_points_are_hundredths() -> None:
    (form,) = read_measured_quantization(document(), "a.json").forms
    assert form.accuracy_loss_points == loss_of_pairs(2, 1, 100).scaled(100.0)
    assert form.accuracy_loss_points.value == pytest.approx(1.0)


# ---- The one that comes with the package ----------------------------------------------------


def test_it_is_of_the_network_of_the_profiles_and_says_where_it_was_measured() -> None:
    found, profile = load_measured_quantization(), load_profile("serve-mlp-cpu-fp32")
    assert {"command", "cpu", "date", "kernel", "versions", "artifact"} <= set(found.source)
    inputs = [layer.shape[0] for layer in found.layers if layer.granularity == "per tensor"]
    assert profile.model is not None
    assert profile.model.startswith("MLP " + "-".join(map(str, inputs)))
    assert [form.name for form in found.forms] == ["dynamic", "static"]
    for form in found.forms:
        assert form.test_rows == 171
        assert set(form.speedups) <= set(profile.batch_sizes)
        assert all(interval.low > 0.0 for interval in form.speedups.values())


@pytest.mark.parametrize(("granularity", "scales"), [("per tensor", 3), ("per channel", 2 * 4096 + 1)])
def test_memory_of_all_weights_by_their_shapes(granularity: str, scales: int) -> None:
    weights = 30 * 4096 + 4096 * 4096 + 4096
    ratio = load_measured_quantization().memory_ratio(granularity)
    assert ratio == pytest.approx(4 * weights / (weights + 4 * scales), rel=1e-12)


def test_scales_that_nothing_was_rounded_with_are_refused() -> None:
    with pytest.raises(InputError, match="no layer has scales 'per row'; use one of per channel, per tensor"):
        load_measured_quantization().memory_ratio("per row")
