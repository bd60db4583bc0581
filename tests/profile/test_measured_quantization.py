"""Measured quantization: what eight bits did to the network that is served, read as it was printed."""

from typing import Any

import pytest

from capacity.errors import InputError
from capacity.performance import Interval
from capacity.profile.load import load_profile
from capacity.profile.quantization import load_measured_quantization, read_measured_quantization

LAYER = {"granularity": "per channel", "norm": 4.0, "error": 0.1, "error_bound": 0.2, "memory_ratio": 3.2}


def document(**study: Any) -> dict[str, Any]:
    """A study of one layer and one form."""
    model = {"name": "static", "file_ratio": 3.9, "rows": 100, "newly_wrong": 2, "newly_right": 1}
    lost = {"accuracy_loss_points": {"value": 1.0, "low": -3.0, "high": 5.0}}
    made_up = {
        "layers": [{**LAYER, "layer": "w", "shape": [16, 2]}],
        "models": [{**model, **lost, "model_bytes": 100}],
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
    assert (form.newly_wrong, form.newly_right) == (2, 1)
    assert form.accuracy_loss_points == Interval(value=1.0, low=-3.0, high=5.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": None}, "a.json.study.layers must be a list"),
        ({"models": [3]}, "a.json.study.models[0] must be an object, got 3"),
        ({"models": [{"name": "static"}]}, "a.json.study.models[0] has no key file_ratio"),
        ({"layers": [{**LAYER, "shape": [1, 2, 3]}]}, "a.json.study.layers[0].shape must be a list of 2 at most"),
        ({"layers": [{**LAYER, "shape": [1, 2.5]}]}, "a.json.study.layers[0].shape[1] must be a whole number, got 2.5"),
    ],
)  # fmt: skip
def test_what_is_no_study_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_measured_quantization(document(**changed), "a.json")
    assert message in str(caught.value)


def test_a_source_or_a_study_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"a\.json has no key study"):
        read_measured_quantization({"source": {}}, "a.json")
    with pytest.raises(InputError, match="unknown key 'written'"):
        read_measured_quantization(document() | {"written": {}}, "a.json")


def test_it_is_of_the_network_of_the_profiles_and_says_where_it_was_measured() -> None:
    found, profile = load_measured_quantization(), load_profile("serve-mlp-cpu-fp32")
    assert {"command", "cpu", "date", "kernel", "versions", "artifact"} <= set(found.source)
    inputs = [layer.shape[0] for layer in found.layers if layer.granularity == "per tensor"]
    assert profile.model.startswith("MLP " + "-".join(map(str, inputs)))
    assert [form.name for form in found.forms] == ["dynamic", "static"]
    for form in found.forms:
        assert form.test_rows == 171
        lost = form.newly_wrong - form.newly_right
        assert form.accuracy_loss_points.value == pytest.approx(100.0 * lost / 171)


@pytest.mark.parametrize(("granularity", "scales"), [("per tensor", 3), ("per channel", 2 * 4096 + 1)])
def test_memory_of_all_weights_by_their_shapes(granularity: str, scales: int) -> None:
    weights = 30 * 4096 + 4096 * 4096 + 4096
    ratio = load_measured_quantization().memory_ratio(granularity)
    assert ratio == pytest.approx(4 * weights / (weights + 4 * scales), rel=1e-12)


def test_scales_that_nothing_was_rounded_with_are_refused() -> None:
    with pytest.raises(InputError, match="no layer has scales 'per row'; use one of per channel, per tensor"):
        load_measured_quantization().memory_ratio("per row")
