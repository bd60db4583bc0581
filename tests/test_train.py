"""Training: what is exported is what was trained, the same bytes at every run, and tested by rows it never saw."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from capacity.interrupts import Terminated
from click.testing import Result
from sklearn.metrics import accuracy_score, log_loss
from threadpoolctl import threadpool_info, threadpool_limits
from typer.testing import CliRunner

from capacity.errors import DomainError, InconclusiveError, InputError
from serve_api import scoring, training
from serve_api.artifact import check_self_contained
from serve_api.dataset import breast_cancer
from serve_api.metadata import MODEL_FILE, SCALER_FILE, Precision, digest
from serve_api.metadata_json import dump_metadata
from serve_api.onnx_export import difference_max, export_onnx, export_scaler
from serve_api.onnx_session import OnnxSession
from serve_api.scoring import score
from serve_api.store import ArtifactStore
from serve_api.train import app, train_into
from serve_api.training import ModelKind, Recipe, fit, parameter_count

ROOT = Path(__file__).parent.parent
KINDS = list(ModelKind)
HIDDEN = 64


def recipe(kind: ModelKind, **changes: Any) -> Recipe:
    return Recipe(kind=kind, hidden=HIDDEN, **changes)


@pytest.fixture(scope="module")
def data() -> Any:
    return breast_cancer()


@pytest.fixture(scope="module")
def pipelines(data: Any) -> dict[ModelKind, Any]:
    return {kind: fit(recipe(kind), data) for kind in KINDS}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[ModelKind, ArtifactStore]:
    """A store of each model, with v1.0.0."""
    root = tmp_path_factory.mktemp("artifacts")
    stores = {kind: ArtifactStore(root / kind) for kind in KINDS}
    for kind, store in stores.items():
        train_into(store, recipe(kind), "v1.0.0")
    return stores


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Result]:
    """The command, within a folder of its own."""

    def run(*arguments: str) -> Result:
        hidden = [] if "--hidden" in arguments else ["--hidden", str(HIDDEN)]
        return CliRunner().invoke(app, ["--artifacts", str(tmp_path), *hidden, *arguments])

    return run


# The data.


def test_rows_train_or_test_and_the_split_is_always_the_same(data: Any) -> None:
    assert data.train_rows.shape == (398, 30)
    assert data.test_rows.shape == (171, 30)
    train, test = ({row.tobytes() for row in rows} for rows in (data.train_rows, data.test_rows))
    assert not train & test
    assert abs(data.train_labels.mean() - data.test_labels.mean()) < 1 / 171  # stratified
    again = breast_cancer()
    assert np.array_equal(again.test_rows, data.test_rows)
    assert data.train_rows.dtype == np.float32


def test_features_are_those_of_the_training_rows_alone(data: Any) -> None:
    features = data.features()
    assert [feature.name for feature in features][:2] == ["mean radius", "mean texture"]
    for column, feature in enumerate(features):
        values = data.train_rows[:, column].astype(float)
        assert (feature.low, feature.high) == (values.min(), values.max())
        assert feature.mean == pytest.approx(values.mean(), rel=1e-12)


# The recipe.


@pytest.mark.parametrize("changes", [{"seed": -1}, {"seed": 2**32}, {"hidden": 0}, {"hidden": 8193}])
def test_recipes_that_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(DomainError, match=next(iter(changes))):
        Recipe(kind=ModelKind.MLP, **changes)


def test_parameters_are_counted(pipelines: dict[ModelKind, Any]) -> None:
    assert parameter_count(pipelines[ModelKind.LOGISTIC]) == 30 + 1
    assert parameter_count(pipelines[ModelKind.MLP]) == 30 * 64 + 64 + 64 * 64 + 64 + 64 + 1


def test_every_epoch_is_run(pipelines: dict[ModelKind, Any]) -> None:
    classifier = pipelines[ModelKind.MLP][-1]
    assert classifier.n_iter_ == 10
    assert classifier.loss_curve_[-1] < 0.3 * classifier.loss_curve_[0]


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_other_weights_only_where_chance_has_a_part(
    kind: ModelKind, data: Any, pipelines: dict[ModelKind, Any]
) -> None:
    same, other = (export_onnx(fit(recipe(kind, seed=seed), data)) for seed in (0, 1))
    assert same == export_onnx(pipelines[kind])
    assert (other == same) == (kind is ModelKind.LOGISTIC)  # its optimum is one


def test_the_order_in_which_the_converter_lists_operator_sets_is_in_no_byte(
    pipelines: dict[ModelKind, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = skl2onnx.to_onnx

    def turned(*arguments: Any, **options: Any) -> onnx.ModelProto:
        graph = converted(*arguments, **options)
        operators = list(graph.opset_import)[::-1]
        del graph.opset_import[:]
        graph.opset_import.extend(operators)
        return graph

    before = export_onnx(pipelines[ModelKind.MLP])
    assert len(onnx.load_from_string(before).opset_import) > 1
    monkeypatch.setattr(skl2onnx, "to_onnx", turned)
    assert export_onnx(pipelines[ModelKind.MLP]) == before


def test_one_thread_computes(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a layer of 4,096 the sums would be shared among cores, and be other sums."""
    threads = []

    class Watching:
        def fit(self, rows: Any, labels: Any) -> None:
            threads.extend(pool["num_threads"] for pool in threadpool_info())

    monkeypatch.setattr(training, "_classifier", lambda recipe: Watching())
    with threadpool_limits(limits=2):
        fit(recipe(ModelKind.MLP), data)
    assert set(threads) == {1}


# The graph.


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_keeps_the_contract(stores: dict[ModelKind, ArtifactStore], kind: ModelKind) -> None:
    model = stores[kind].load("v1.0.0").model
    onnx.checker.check_model(onnx.load_model_from_string(model))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1]) == ("features", "tensor(float)", 30)
    assert not isinstance(given.shape[0], int)
    found = {output.name: output.type for output in session.get_outputs()}
    assert found == {"label": "tensor(int64)", "probabilities": "tensor(float)"}
    for rows in (1, 2, 65):
        label, probabilities = session.run(None, {"features": np.ones((rows, 30), np.float32)})
        assert (label.shape, label.dtype) == ((rows,), np.int64)
        assert (probabilities.shape, probabilities.dtype) == ((rows, 2), np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_agrees_with_scikit_learn(
    kind: ModelKind, pipelines: dict[ModelKind, Any], data: Any
) -> None:
    model, rows = export_onnx(pipelines[kind]), data.test_rows
    label, probabilities = OnnxSession(model).predict(rows)
    expected = pipelines[kind].predict_proba(rows)
    assert np.array_equal(label, pipelines[kind].predict(rows))
    assert difference_max(model, pipelines[kind], rows) == np.abs(probabilities - expected).max() < 1e-6


def test_the_graph_agrees_with_the_formula(data: Any, pipelines: dict[ModelKind, Any]) -> None:
    """Scaler and layers by hand, in double precision, from `scaler.json` and the weights."""
    classifier = pipelines[ModelKind.MLP][-1]
    scaler = json.loads(export_scaler(pipelines[ModelKind.MLP]))
    layer = (data.test_rows.astype(float) - scaler["mean"]) / scaler["scale"]
    for weights, intercepts in zip(classifier.coefs_, classifier.intercepts_, strict=True):
        product = layer @ weights.astype(float) + intercepts
        layer = np.maximum(product, 0.0)
    _, probabilities = OnnxSession(export_onnx(pipelines[ModelKind.MLP])).predict(data.test_rows)
    assert probabilities[:, 1] == pytest.approx(1.0 / (1.0 + np.exp(-product[:, 0])), abs=1e-5)


def test_a_graph_of_another_model_is_not_taken_for_this_one(
    pipelines: dict[ModelKind, Any], data: Any
) -> None:
    with pytest.raises(InconclusiveError, match="the ONNX graph and scikit-learn disagree"):
        difference_max(export_onnx(pipelines[ModelKind.LOGISTIC]), pipelines[ModelKind.MLP], data.test_rows)


def test_a_graph_whose_labels_alone_are_others_is_refused(pipelines: dict[ModelKind, Any], data: Any) -> None:
    pipeline = pipelines[ModelKind.LOGISTIC]
    liar = SimpleNamespace(
        predict_proba=pipeline.predict_proba, predict=lambda rows: 1 - pipeline.predict(rows)
    )
    with pytest.raises(InconclusiveError, match="171 labels differ"):
        difference_max(export_onnx(pipeline), liar, data.test_rows)


def test_a_graph_whose_probabilities_alone_are_others_is_refused(
    pipelines: dict[ModelKind, Any], data: Any
) -> None:
    pipeline = pipelines[ModelKind.LOGISTIC]
    liar = SimpleNamespace(
        predict_proba=lambda rows: pipeline.predict_proba(rows) + 2e-5, predict=pipeline.predict
    )
    with pytest.raises(InconclusiveError, match="0 labels differ, and probabilities by 2e-05"):
        difference_max(export_onnx(pipeline), liar, data.test_rows)


def outside() -> bytes:
    """A graph with weights in `weights.bin`; ONNX Runtime may read them from where it runs."""
    weights = onnx.TensorProto(name="w", data_type=1, dims=[30], data_location=onnx.TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="weights.bin")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["features", "w"], ["probabilities"])],
        "g",
        [onnx.helper.make_tensor_value_info("features", 1, [None, 30])],
        [onnx.helper.make_tensor_value_info("probabilities", 1, [None, 30])],
        [weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("length", [b"\x08", b"\x88\x00", b"\x88\x80\x00"])
def test_a_graph_that_has_weights_in_another_file_is_refused(length: bytes) -> None:
    """What was hashed is to be all that is loaded, however long the length of the key is written."""
    entry = b"\x0a" + length + b"location\x12\x01w"
    assert onnx.StringStringEntryProto.FromString(entry).key == "location"
    for model in (outside(), entry, b"allocation" + entry):
        with pytest.raises(InputError, match="has weights in another file"):
            check_self_contained(model, "model.onnx")


def test_a_name_with_that_word_in_it_is_no_other_file() -> None:
    for harmless in (b"", b"location", b"\x0aallocation location", b"\x09locations"):
        check_self_contained(harmless, "model.onnx")


def test_a_store_holds_no_graph_with_weights_elsewhere(
    tmp_path: Path, stores: dict[ModelKind, ArtifactStore]
) -> None:
    known = stores[ModelKind.LOGISTIC].load("v1.0.0")
    files = {MODEL_FILE: outside(), SCALER_FILE: known.scaler}
    damaged = replace(known.metadata, files={name: digest(data) for name, data in files.items()})
    store = ArtifactStore(tmp_path / "logistic")
    with pytest.raises(InputError, match="has weights in another file"):
        store.publish(damaged, files)
    assert not store.root.exists()
    store.publish(known.metadata, {MODEL_FILE: known.model, SCALER_FILE: known.scaler})
    (store.root / "v1.0.0" / MODEL_FILE).write_bytes(files[MODEL_FILE])
    (store.root / "v1.0.0" / "metadata.json").write_bytes(dump_metadata(damaged))
    with pytest.raises(InputError, match="has weights in another file"):
        store.load("v1.0.0")


# The score.


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_that_of_scikit_learn(
    kind: ModelKind, pipelines: dict[ModelKind, Any], data: Any
) -> None:
    found = score(export_onnx(pipelines[kind]), data.test_rows, data.test_labels)
    assert found.rows == 171
    assert found.accuracy == accuracy_score(data.test_labels, pipelines[kind].predict(data.test_rows)) > 0.9
    expected = log_loss(data.test_labels, pipelines[kind].predict_proba(data.test_rows))
    assert found.log_loss == pytest.approx(expected, rel=1e-4)


def test_the_score_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        def __init__(self, model: bytes) -> None:
            pass

        def predict(self, rows: Any) -> Any:
            return np.array([0, 1, 1, 1]), np.array(
                [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]], np.float32
            )

    monkeypatch.setattr(scoring, "OnnxSession", Fixed)
    found = score(b"", np.zeros((4, 30), np.float32), np.array([0, 0, 1, 0]))
    assert found.accuracy == 0.5
    assert found.log_loss == pytest.approx((3 * np.log(2.0) + np.log(1e7)) / 4)


# The version that is written.


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_say_what_was_made(
    kind: ModelKind, stores: dict[ModelKind, ArtifactStore], pipelines: dict[ModelKind, Any], data: Any
) -> None:
    found = stores[kind].load("v1.0.0")
    known = found.metadata
    assert (known.model, known.version, known.seed, known.source) == (kind, "v1.0.0", 0, None)
    assert known.precision is Precision.FP32
    assert known.parameters == parameter_count(pipelines[kind])
    assert known.features == data.features()
    assert known.libraries["onnxruntime"] == onnxruntime.__version__
    assert set(known.libraries) == {"numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx"}
    tested = score(found.model, data.test_rows, data.test_labels)
    assert known.metrics == {
        "train_rows": 398,
        "test_rows": 171,
        "test_accuracy": tested.accuracy,
        "test_log_loss": tested.log_loss,
        "sklearn_difference_max": difference_max(found.model, pipelines[kind], data.test_rows),
    }
    assert found.scaler == export_scaler(pipelines[kind])


def test_trained_again_it_is_refused_before_any_work(
    stores: dict[ModelKind, ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_api.train.fit", lambda *_: pytest.fail("it was trained"))
    store = stores[ModelKind.MLP]
    with pytest.raises(InputError, match=r"use --version v1\.0\.1"):
        train_into(store, recipe(ModelKind.MLP), "v1.0.0")


# The command.


def test_the_command_writes_the_same_bytes_whatever_the_cores(
    stores: dict[ModelKind, ArtifactStore], tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "serve_api.train",
            "--artifacts",
            tmp_path,
            "--hidden",
            "64",
            "--json",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    trained = {one["model"]: one for one in json.loads(done.stdout)["trained"]}
    assert list(trained) == ["logistic", "mlp"]
    for kind, store in stores.items():
        again, before = ArtifactStore(tmp_path / kind), store.load("v1.0.0")
        assert again.load() == type(before)(
            version="v1.0.0",
            path=tmp_path / kind / "v1.0.0",
            model=before.model,
            scaler=before.scaler,
            metadata=before.metadata,
        )
        assert trained[kind]["model_sha256"] == before.metadata.files[MODEL_FILE].sha256
        assert trained[kind]["metrics"] == before.metadata.metrics
        assert trained[kind]["model_bytes"] == len(before.model)


def test_one_model_as_a_table(train: Callable[..., Result], tmp_path: Path) -> None:
    done = train("--model", "logistic")
    assert done.exit_code == 0, done.output
    assert "logistic   v1.0.0" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["logistic"]


def test_the_first_version_is_current_and_later_ones_when_they_are_promoted(
    train: Callable[..., Result], tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path / "logistic")
    for version, flags, current in (
        ("v1.0.0", [], "v1.0.0"),
        ("v1.1.0", [], "v1.0.0"),
        ("v1.2.0", ["--promote"], "v1.2.0"),
    ):
        assert train("--model", "logistic", "--version", version, *flags).exit_code == 0
        assert store.current() == current
    assert store.previous() == "v1.0.0"


def test_a_version_that_is_there_is_refused_for_all_models_before_any_is_trained(
    train: Callable[..., Result], tmp_path: Path
) -> None:
    assert train("--model", "mlp").exit_code == 0
    done = train()
    assert done.exit_code == 2
    assert "mlp has v1.0.0 already, and none is ever overwritten; use --version v1.0.1" in done.stderr
    assert "training" not in done.stderr
    assert not (tmp_path / "logistic").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "forest"], "--model 'forest' is unknown; use one of logistic, mlp, all"),
        (["--version", "1.0"], "a model version must look like v1.0.0, got '1.0'"),
        (["--version", "../v1.0.0"], "a model version must look like v1.0.0"),
        (["--seed", "-1"], "seed must be 0 to"),
        (["--hidden", "0"], "hidden must be 1 to 8192 units, got 0"),
    ],
)
def test_what_the_command_refuses(
    train: Callable[..., Result], tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = train(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Training interrupted by user")  # as it would be for a user
@pytest.mark.parametrize(("stop", "exit_code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_training_that_is_stopped_leaves_no_model(
    stop: type[KeyboardInterrupt],
    exit_code: int,
    train: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """scikit-learn makes a warning of an interrupt and goes on with what it has, which is half a model."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise stop

    monkeypatch.setattr("sklearn.neural_network.MLPClassifier._backprop", interrupted)
    done = train("--model", "mlp")
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written(train: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "logistic").touch()
    done = train("--model", "logistic")
    assert done.exit_code == 2
    assert "Not a directory" in done.stderr
