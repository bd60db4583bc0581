"""Quantized models: what eight bits do to weights, answers, files and times, and what is claimed of that."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array, to_array
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from capacity.errors import DomainError, InputError
from capacity.measured_quantization import read_measured_quantization
from capacity.performance import Interval
from capacity.quantization import quantize as quantize_weights
from serve_api import interleaved_times, quantization_effect, quantization_study
from serve_api.artifact import Artifact
from serve_api.dataset import breast_cancer
from serve_api.interleaved_times import BatchTime, batch_times
from serve_api.linear_classifier import spelled_out
from serve_api.metadata import MODEL_FILE, Feature, Precision
from serve_api.onnx_export import export_onnx
from serve_api.onnx_quantization import Method, quantized
from serve_api.onnx_session import OnnxSession
from serve_api.quantization_claims import Claim, Verdict, claims
from serve_api.quantization_effect import Effect, yardstick
from serve_api.quantization_study import check_source, study
from serve_api.quantize import app
from serve_api.store import ArtifactStore
from serve_api.train import train_into
from serve_api.training import ModelKind, Recipe
from serve_api.weight_matrices import weight_matrices, with_codes
from serve_api.weight_rounding import Granularity, round_weights

ROOT = Path(__file__).parent.parent
PER_TENSOR, PER_CHANNEL = Granularity
laws = settings(derandomize=True, deadline=None, max_examples=40)


@pytest.fixture(scope="module")
def data() -> Any:
    return breast_cancer()


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of a logistic regression and of a small mlp, each with a current v1.0.0."""
    root = tmp_path_factory.mktemp("artifacts")
    for kind in ModelKind:
        store = ArtifactStore(root / kind)
        train_into(store, Recipe(kind=kind, hidden=64), "v1.0.0")
        store.set_current("v1.0.0")
    return root


@pytest.fixture(scope="module")
def mlp(artifacts: Path) -> Artifact:
    return ArtifactStore(artifacts / "mlp").load()


@pytest.fixture(scope="module")
def logistic(artifacts: Path) -> Artifact:
    return ArtifactStore(artifacts / "logistic").load()


@pytest.fixture(scope="module")
def small_study(mlp: Artifact, data: Any) -> Any:
    return study(mlp, data, 10, lambda message: None)


@pytest.fixture
def quantize(artifacts: Path, tmp_path: Path) -> Callable[..., Result]:
    """The command, on the small mlp, into a store of its own."""

    def run(*arguments: str) -> Result:
        given = {
            "--artifacts": str(artifacts / "mlp"),
            "--output": str(tmp_path / "mlp-int8"),
            "--rounds": "10",
        }
        given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
        return CliRunner().invoke(app, [word for pair in given.items() for word in pair])

    return run


def product_graph(weights: Any) -> bytes:
    """A graph that multiplies by one matrix."""
    graph = make_graph(
        [make_node("MatMul", ["features", "w"], ["probabilities"])],
        "g",
        [make_tensor_value_info("features", 1, [None, weights.shape[0]])],
        [make_tensor_value_info("probabilities", 1, [None, weights.shape[1]])],
        [from_array(weights.astype(np.float32), "w")],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def constants(model: bytes) -> dict[str, Any]:
    return {tensor.name: to_array(tensor) for tensor in onnx.load_model_from_string(model).graph.initializer}


def operators(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(model).graph.node]


# Weights by themselves.

weights = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-4, 4, width=32, allow_subnormal=False),
)


@laws
@given(weights)
def test_rounding_is_within_its_bound_and_channels_have_the_smaller_one(matrix: Any) -> None:
    found = {g: round_weights(product_graph(matrix), g).layers[0] for g in Granularity}
    for layer in found.values():
        assert layer.error <= layer.error_bound * (1 + 1e-6)
        assert layer.error_expected == pytest.approx(layer.error_bound / math.sqrt(3))
        assert layer.shape == matrix.shape
        assert layer.norm == pytest.approx(float(np.linalg.norm(matrix.astype(float))))
    if np.abs(matrix).max(axis=0).all():  # a channel of zeros has scale 1, of which nothing is used
        assert found[PER_CHANNEL].error_bound <= found[PER_TENSOR].error_bound * (1 + 1e-12)


@laws
@given(weights)
def test_the_graphs_hold_what_was_measured(matrix: Any) -> None:
    """The error once more, from the tensors of the graph with codes and of that with weights."""
    for granularity in Granularity:
        codes = {"w": quantize_weights(matrix, axis=None if granularity is PER_TENSOR else 1)}
        tensors = constants(with_codes(product_graph(matrix), codes))
        assert set(tensors) == {"w_codes", "w_scale"}
        assert tensors["w_codes"].dtype == np.int8
        assert tensors["w_scale"].shape == (() if granularity is PER_TENSOR else (matrix.shape[1],))
        rounded = round_weights(product_graph(matrix), granularity)
        slack = float(1e-6 * np.abs(matrix).sum()) + 1e-30
        for restored in (
            tensors["w_codes"].astype(float) * tensors["w_scale"],
            constants(rounded.model)["w"],
        ):
            error = float(np.linalg.norm(restored.astype(float) - matrix))
            assert error == pytest.approx(rounded.layers[0].error, abs=slack)
        assert rounded.file_bytes == len(with_codes(product_graph(matrix), codes))


def test_the_table_by_hand() -> None:
    matrix = np.array([[127.0, 1.0], [0.25, 0.5], [-2.75, 0.25]])
    layer = round_weights(product_graph(matrix), PER_TENSOR).layers[0]
    assert layer.error == pytest.approx(
        math.sqrt(0.25**2 + 0.5**2 + 0.25**2 + 0.25**2)
    )  # scale 1; 0.5 goes to 0
    assert layer.error_bound == pytest.approx(math.sqrt(6) / 2)
    assert layer.share_of_bound == pytest.approx(layer.error / layer.error_bound)
    assert (layer.bytes_before, layer.bytes_after, layer.memory_ratio) == (24, 10, 2.4)
    channels = round_weights(product_graph(matrix), PER_CHANNEL).layers[0]
    assert channels.error_bound == pytest.approx(0.5 * math.sqrt(3 * (1 + 1 / 127**2)))
    assert (channels.bytes_before, channels.bytes_after) == (24, 14)


def test_memory_of_all_layers_is_that_of_their_sums(mlp: Artifact) -> None:
    rounded = round_weights(mlp.model, PER_CHANNEL)
    assert [layer.shape for layer in rounded.layers] == [(30, 64), (64, 64), (64, 1)]
    numbers, channels = 30 * 64 + 64 * 64 + 64, 64 + 64 + 1
    assert rounded.memory_ratio == 4 * numbers / (numbers + 4 * channels)
    assert all(0.5 < layer.share_of_bound < 0.65 for layer in rounded.layers)  # 1 / sqrt(3), but for chance
    assert rounded.file_bytes < len(mlp.model) / 2 < len(rounded.model)


@pytest.mark.parametrize("granularity", Granularity)
def test_a_rounded_model_answers_by_its_rounded_weights_and_nothing_else(
    granularity: Granularity, mlp: Artifact, data: Any
) -> None:
    """By hand in double precision, from codes made here."""
    matrices = weight_matrices(mlp.model)
    intercepts = constants(mlp.model)
    scaler = json.loads(mlp.scaler)
    layer = (data.test_rows.astype(float) - scaler["mean"]) / scaler["scale"]
    for number, matrix in zip(("", "1", "2"), matrices.values(), strict=True):
        axis = 0 if granularity is PER_CHANNEL else None
        scales = np.abs(matrix.astype(float)).max(axis=axis) / 127.0
        product = layer @ (np.rint(matrix / scales) * scales) + intercepts[f"intercepts{number}"]
        layer = np.maximum(product, 0.0)
    _, probabilities = OnnxSession(round_weights(mlp.model, granularity).model).predict(data.test_rows)
    assert probabilities[:, 1] == pytest.approx(1.0 / (1.0 + np.exp(-product[:, 0])), abs=1e-5)


def test_a_graph_without_weights_is_refused(logistic: Artifact) -> None:
    with pytest.raises(InputError, match="nothing to quantize"):
        weight_matrices(logistic.model)  # its weights are attributes of one operator


# Logistic regression spelled out.


def test_logistic_regression_spelled_out_is_the_same_function(logistic: Artifact, data: Any) -> None:
    model = spelled_out(logistic.model)
    onnx.checker.check_model(onnx.load_model_from_string(model))
    assert "LinearClassifier" not in operators(model)
    assert {name: w.shape for name, w in weight_matrices(model).items()} == {"linear_weights": (30, 1)}
    before, after = (OnnxSession(m).predict(data.test_rows) for m in (logistic.model, model))
    assert np.array_equal(before[0], after[0])
    assert after[1] == pytest.approx(before[1], abs=1e-6)
    assert (after[0].dtype, after[1].dtype, after[1].shape) == (np.int64, np.float32, (171, 2))


def test_other_graphs_are_left_as_they_are(mlp: Artifact) -> None:
    assert spelled_out(mlp.model) == mlp.model


def test_three_classes_are_refused(data: Any) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(data.train_rows, np.arange(len(data.train_rows)) % 3)
    with pytest.raises(InputError, match="not a binary logistic regression"):
        spelled_out(export_onnx(pipeline))


def test_probabilities_made_in_another_way_are_refused(logistic: Artifact) -> None:
    model = onnx.load_model_from_string(logistic.model)
    attributes = {attribute.name: attribute for attribute in model.graph.node[-1].attribute}
    attributes["post_transform"].s = b"PROBIT"
    with pytest.raises(InputError, match="not a binary logistic regression"):
        spelled_out(model.SerializeToString())


# ONNX Runtime's models.


@pytest.mark.parametrize(
    ("method", "operator"), [(Method.DYNAMIC, "MatMulInteger"), (Method.STATIC, "QuantizeLinear")]
)
@pytest.mark.parametrize("kind", list(ModelKind))
def test_products_are_of_whole_numbers_and_answers_close(
    kind: ModelKind, method: Method, operator: str, artifacts: Path, data: Any
) -> None:
    source = ArtifactStore(artifacts / kind).load()
    model = quantized(source.model, method, data.train_rows)
    assert model == quantized(source.model, method, data.train_rows)
    assert operator in operators(model)
    effect = yardstick(source.model, data.test_rows, data.test_labels).effect("x", model)
    assert 0.0 < effect.probability_difference_max < 0.15
    assert effect.labels_changed <= 5
    assert effect.accuracy > 0.9


def test_only_dynamic_answers_depend_on_the_company(small_study: Any) -> None:
    assert small_study.effects[Method.DYNAMIC].company_difference_max > 1e-3
    assert small_study.effects[Method.STATIC].company_difference_max < 1e-6
    assert all(effect.company_difference_max < 1e-6 for effect in small_study.rounded_effects)


def test_static_ranges_come_from_the_rows_that_are_given(mlp: Artifact, data: Any) -> None:
    few = quantized(mlp.model, Method.STATIC, data.train_rows[:3])
    assert few != quantized(mlp.model, Method.STATIC, data.train_rows)
    assert quantized(mlp.model, Method.DYNAMIC, data.train_rows[:3]) == quantized(
        mlp.model, Method.DYNAMIC, data.train_rows
    )


def test_test_rows_are_never_calibrated_by(mlp: Artifact, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given_rows = []

    def spy(model: bytes, method: Method, calibration: Any) -> bytes:
        given_rows.append(calibration)
        return model

    monkeypatch.setattr(quantization_study, "quantized", spy)
    study(mlp, data, 10, lambda message: None)
    assert [rows is data.train_rows for rows in given_rows] == [True, True]


# Effects.


class Fixed:
    """A session whose answers are its model's bytes: probabilities of class 1 in percent."""

    def __init__(self, model: bytes) -> None:
        self.percent = np.frombuffer(model, np.uint8)

    def predict(self, rows: Any) -> Any:
        """Alone, a row of number k is answered 1 % higher."""
        company = 0.0 if len(rows) > 1 else 0.01
        likely = self.percent[rows[:, 0].astype(int)] / 100.0 + company
        return (likely > 0.5).astype(np.int64), np.stack([1.0 - likely, likely], axis=1).astype(np.float32)


def test_effects_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_effect, "OnnxSession", Fixed)
    rows = np.arange(4, dtype=np.float32)[:, None]
    before = yardstick(bytes([90, 80, 20, 40]), rows, np.array([1, 1, 0, 1]))
    effect = before.effect("other", bytes([90, 30, 20, 60]))
    assert (effect.accuracy_before, effect.accuracy) == (0.75, 0.75)
    assert effect.accuracy_loss_points.value == 0.0
    assert (effect.rows, effect.newly_wrong, effect.newly_right) == (4, 1, 1)
    assert effect.labels_changed == 2
    assert effect.probability_difference_max == pytest.approx(0.5)
    assert effect.company_difference_max == pytest.approx(0.01, rel=1e-4)
    assert (effect.model_bytes, effect.file_ratio) == (4, 1.0)
    worse = before.effect("worse", bytes([10, 80, 20, 40]), 2)
    assert (worse.model_bytes, worse.file_ratio) == (2, 2.0)
    assert (worse.accuracy, worse.accuracy_loss_points.value) == (0.5, 25.0)
    assert (worse.newly_wrong, worse.newly_right) == (1, 0)


# Times.


class Clock:
    """A clock that stands still but for the sessions that it is given."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[tuple[str, int]] = []

    def perf_counter(self) -> float:
        return self.now_s


class Timed:
    """A session that takes its times by turns; what comes first after another session takes longer."""

    def __init__(self, clock: Clock, name: str, times_s: list[float]) -> None:
        self.clock, self.name, self.times_s = clock, name, times_s

    def predict(self, rows: Any) -> None:
        fresh = not self.clock.calls or self.clock.calls[-1][0] != self.name
        self.clock.calls.append((self.name, len(rows)))
        served = sum(name == self.name for name, _ in self.clock.calls) // 2 - 1
        self.clock.now_s += 100.0 if fresh else self.times_s[served % len(self.times_s)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(interleaved_times, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


def test_times_by_hand(clock: Clock, data: Any) -> None:
    sessions: Any = {"slow": Timed(clock, "slow", [4.0, 8.0]), "quick": Timed(clock, "quick", [1.0, 4.0])}
    found = batch_times(sessions, data.test_rows, (3, 200), 10)
    assert [(one.name, one.batch_size) for one in found] == [
        ("slow", 3),
        ("quick", 3),
        ("slow", 200),
        ("quick", 200),
    ]
    assert [one.median_s for one in found] == [6.0, 2.5, 6.0, 2.5]
    assert found[0].speedup == Interval(value=1.0, low=1.0, high=1.0)
    assert found[1].speedup == Interval(value=3.0, low=2.0, high=4.0)  # ratios of 4 and 2 by turns
    assert clock.calls[:4] == [("slow", 3), ("slow", 3), ("quick", 3), ("quick", 3)]
    assert len(clock.calls) == 2 * 2 * 2 * 10
    assert clock.calls[-1] == ("quick", 200)  # more than the rows there are


@pytest.mark.parametrize("rounds", [0, 9, 10_001])
def test_rounds_that_are_refused(rounds: int, clock: Clock, data: Any) -> None:
    with pytest.raises(DomainError, match="rounds must be 10 to 10000"):
        batch_times({"x": Timed(clock, "x", [1.0])}, data.test_rows, (1,), rounds)  # type: ignore[dict-item]
    assert clock.calls == []


# Claims.


def interval(low: float, high: float) -> Interval:
    return Interval(value=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("at_least", "limit", "found", "verdict"),
    [
        (True, 4.0, interval(3.96, 3.96), Verdict.FAILS),
        (True, 2.0, interval(2.0, 2.5), Verdict.HOLDS),
        (True, 2.0, interval(1.9, 2.1), Verdict.UNDECIDED),
        (True, 2.0, interval(0.6, 0.7), Verdict.FAILS),
        (False, 0.5, interval(0.49, 0.49), Verdict.HOLDS),
        (False, 0.5, interval(0.5, 0.5), Verdict.FAILS),
        (False, 0.5, interval(-0.6, -0.6), Verdict.HOLDS),
        (False, 0.5, interval(0.4, 0.6), Verdict.UNDECIDED),
    ],
)
def test_what_is_said_of_a_claim(at_least: bool, limit: float, found: Interval, verdict: Verdict) -> None:
    claim = Claim(what="x", model="y", limit=limit, at_least=at_least, found=found)
    assert claim.verdict is verdict


def test_all_claims_of_a_model() -> None:
    effect = Effect(
        name="static",
        model_bytes=10,
        file_ratio=3.95,
        accuracy=0.94,
        accuracy_before=0.95,
        rows=100,
        newly_wrong=2,
        newly_right=1,
        labels_changed=2,
        probability_difference_max=0.1,
        company_difference_max=0.0,
    )
    times = [BatchTime(name="static", batch_size=b, median_s=1.0, speedup=interval(1.5, 3.0)) for b in (1, 8)]
    found = {claim.what: (claim.found.value, claim.limit, claim.verdict) for claim in claims([effect], times)}
    assert found == {
        "file: 4x smaller": (3.95, 4.0, Verdict.HOLDS),  # a scale for each column stays
        "accuracy: less than 0.5 points lost": (pytest.approx(1.0), 0.5, Verdict.UNDECIDED),
        "batch of 1: 2x faster": (2.25, 2.0, Verdict.UNDECIDED),
        "batch of 8: 2x faster": (2.25, 2.0, Verdict.UNDECIDED),
    }


def test_a_file_is_four_times_as_small_to_one_decimal() -> None:
    for ratio, verdict in ((3.96, Verdict.HOLDS), (3.94, Verdict.FAILS)):
        found = interval(ratio, ratio)
        claim = Claim(what="x", model="y", limit=4.0, at_least=True, found=found, slack=0.05)
        assert claim.verdict is verdict


# The study, and the command.


def test_a_study_has_all_parts(small_study: Any) -> None:
    assert [r.granularity for r in small_study.rounded] == list(Granularity)
    assert [e.name for e in small_study.rounded_effects] == ["weights per tensor", "weights per channel"]
    assert {m: e.model_bytes for m, e in small_study.effects.items()} == {
        m: len(x) for m, x in small_study.models.items()
    }
    assert [(t.name, t.batch_size) for t in small_study.times] == [
        (name, size) for size in (1, 8, 32, 64) for name in ("fp32", "dynamic", "static")
    ]
    assert len(small_study.claims) == 2 * (2 + 4)
    assert {claim.model for claim in small_study.claims} == {"dynamic", "static"}


def test_sources_that_are_refused(mlp: Artifact, data: Any) -> None:
    twice = replace(mlp, metadata=replace(mlp.metadata, precision=Precision.INT8))
    with pytest.raises(InputError, match="mlp v1.0.0 is quantized already"):
        check_source(twice, data)
    others = (Feature(name="x", mean=0.0, low=0.0, high=0.0), *mlp.metadata.features[1:])
    with pytest.raises(InputError, match="takes other columns"):
        check_source(replace(mlp, metadata=replace(mlp.metadata, features=others)), data)


@pytest.mark.parametrize("kind", list(ModelKind))
def test_the_command_as_it_is_run(kind: ModelKind, artifacts: Path, tmp_path: Path) -> None:
    store = tmp_path / f"{kind}-int8"
    command = [sys.executable, "-W", "error", "-m", "serve_api.quantize", "--artifacts", artifacts / kind]
    done = subprocess.run(
        [*command, "--output", store, "--rounds", "10", "--json"],
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    answer = json.loads(done.stdout)
    source, written = ArtifactStore(artifacts / kind).load(), ArtifactStore(store).load()
    assert answer["source"] == {"model": kind, "version": "v1.0.0"}
    kept = read_measured_quantization({"source": {}, "study": answer}, "the answer")
    assert [form.name for form in kept.forms] == list(Method)
    for form, model in zip(kept.forms, answer["models"], strict=True):
        assert form.file_ratio == model["file_ratio"]
        assert asdict(form.accuracy_loss_points) == model["accuracy_loss_points"]
        assert (form.newly_wrong, form.newly_right) == (model["newly_wrong"], model["newly_right"])
    assert answer["written"]["model_bytes"] == len(written.model)
    assert (written.metadata.model, written.metadata.precision) == (f"{kind}-int8", Precision.INT8)
    assert written.metadata.source is not None
    assert written.metadata.source.sha256 == source.metadata.files[MODEL_FILE].sha256
    assert (written.metadata.source.model, written.metadata.source.version) == (kind, "v1.0.0")
    assert written.scaler == source.scaler
    assert written.metadata.features == source.metadata.features
    static = next(model for model in answer["models"] if model["name"] == "static")
    assert written.metadata.metrics["test_accuracy"] == static["accuracy"]
    assert (
        written.metadata.metrics["file_ratio"]
        == static["file_ratio"]
        == len(source.model) / len(written.model)
    )
    assert {claim["verdict"] for claim in answer["claims"]} <= set(Verdict)
    accuracy = [claim for claim in answer["claims"] if "accuracy" in claim["what"]]
    assert {claim["verdict"] for claim in accuracy} == {"cannot be told"}  # by 171 rows
    assert all(claim["found"]["low"] < 0.5 < claim["found"]["high"] for claim in accuracy)
    if kind is ModelKind.LOGISTIC:  # 31 numbers: what is added outweighs what is saved
        memory = [claim["verdict"] for claim in answer["claims"] if "file" in claim["what"]]
        assert memory == ["does not hold", "does not hold"]


@pytest.mark.parametrize(("method", "operator"), [("dynamic", "MatMulInteger"), ("static", "QuantizeLinear")])
def test_the_method_that_is_asked_for_is_written(
    method: str, operator: str, quantize: Callable[..., Result], tmp_path: Path
) -> None:
    done = quantize("--method", method)
    assert done.exit_code == 0, done.output
    store = ArtifactStore(tmp_path / "mlp-int8")
    assert operator in operators(store.load().model)
    for shown in (
        "Weights as symmetric",
        "Answers on 171 test rows",
        "Time of a batch",
        "What is commonly claimed",
    ):
        assert shown in done.stdout
    assert "one of 171 test rows is 0.58 points" in done.stdout
    assert "cannot be told" in done.stdout
    assert "a probability of the dynamic model depends on the rows in its batch" in done.stdout
    again = quantize("--method", method)
    assert again.exit_code == 2
    assert "mlp-int8 has v1.0.0 already" in again.stderr
    assert "use --version v1.0.1" in again.stderr
    assert "quantizing" not in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "half"], "--method 'half' is unknown; use one of dynamic, static"),
        (["--version", "latest"], "a model version must look like v1.0.0"),
        (["--source-version", "v9.0.0"], "there is no version"),
        (["--source-version", "../../x"], "a model version must look like v1.0.0"),
        (["--rounds", "1"], "rounds must be 10 to 10000, got 1"),
        (["--artifacts", "nowhere"], "cannot read the store nowhere"),
    ],
)
def test_what_the_command_refuses(
    quantize: Callable[..., Result], tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = quantize(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_model_is_not_quantized_again(quantize: Callable[..., Result], tmp_path: Path) -> None:
    assert quantize().exit_code == 0
    done = quantize("--artifacts", str(tmp_path / "mlp-int8"), "--output", str(tmp_path / "again"))
    assert done.exit_code == 2
    assert "mlp-int8 v1.0.0 is quantized already; name the model it was made from" in done.stderr
