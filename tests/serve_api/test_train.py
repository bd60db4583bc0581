"""Training: what is exported is what was trained, the same bytes at every run, and tested by rows it never saw."""

import json

import numpy as np
import onnx
import pytest
from sklearn.metrics import accuracy_score, log_loss
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from capacity.errors import DomainError, InconclusiveError, InputError
from serve_api.models.dataset import breast_cancer
from serve_api.models.graph import OnnxSession, difference_max, export_onnx, export_scaler, score
from serve_api.models.metadata import MODEL_FILE, SCALER_FILE, Precision
from serve_api.models.store import ArtifactStore
from serve_api.quantize import app as quantize_app
from serve_api.quantize import quantize_into
from serve_api.train import ModelKind, Recipe, app, fit, train_into

KINDS = list(ModelKind)
HIDDEN = 64


def recipe(kind, **changes):
    return Recipe(kind=kind, **{"hidden": HIDDEN, **changes})


@pytest.fixture(scope="module")
def data():
    return breast_cancer()


@pytest.fixture(scope="module")
def pipelines(data):
    return {kind: fit(recipe(kind), data) for kind in KINDS}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of each model, with v1.0.0."""
    root = tmp_path_factory.mktemp("artifacts")
    stores = {kind: ArtifactStore(root / kind) for kind in KINDS}
    for kind, store in stores.items():
        train_into(store, recipe(kind), "v1.0.0")
        store.set_current("v1.0.0")
    return stores


@pytest.fixture
def train(tmp_path):
    """The command, within a folder of its own."""

    def run(*arguments):
        return CliRunner().invoke(app, ["--artifacts", str(tmp_path), "--hidden", str(HIDDEN), *arguments])

    return run


def test_rows_train_or_test_and_the_split_is_always_the_same(data):
    assert (data.train_rows.shape, data.test_rows.shape) == ((398, 30), (171, 30))
    train, test = ({row.tobytes() for row in rows} for rows in (data.train_rows, data.test_rows))
    assert not train & test
    assert np.array_equal(breast_cancer().test_rows, data.test_rows)
    for column, feature in enumerate(data.features()):
        values = data.train_rows[:, column].astype(float)
        assert (feature.low, feature.high) == (values.min(), values.max())


@pytest.mark.parametrize("changes", [{"seed": -1}, {"seed": 2**32}, {"hidden": 0}, {"hidden": 8193}])
def test_recipes_that_are_refused(changes):
    with pytest.raises(DomainError, match=next(iter(changes))):
        Recipe(kind=ModelKind.MLP, **changes)


def test_parameters_are_counted(pipelines):
    for kind, expected in ((ModelKind.LOGISTIC, 31), (ModelKind.MLP, 30 * 64 + 64 + 64 * 64 + 64 + 64 + 1)):
        assert recipe(kind).parameters(30) == expected
    classifier = pipelines[ModelKind.MLP][-1]
    arrays = (*classifier.coefs_, *classifier.intercepts_)
    assert sum(array.size for array in arrays) == recipe(ModelKind.MLP).parameters(30)
    assert classifier.n_iter_ == 10  # every epoch is run


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(kind, data, pipelines):
    with threadpool_limits(limits=2):
        same, other = (export_onnx(fit(recipe(kind, seed=seed), data)) for seed in (0, 1))
    assert same == export_onnx(pipelines[kind])
    assert (other == same) == (kind is ModelKind.LOGISTIC)  # its optimum is one


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_agrees_with_scikit_learn(kind, stores, data, pipelines):
    model = stores[kind].load().model
    labels, probabilities = OnnxSession(model).predict(data.test_rows)
    assert np.array_equal(labels, pipelines[kind].predict(data.test_rows))
    assert np.allclose(probabilities, pipelines[kind].predict_proba(data.test_rows), atol=1e-5)
    found = score(model, data.test_rows, data.test_labels)
    assert found["test_accuracy"] == accuracy_score(data.test_labels, labels)
    assert found["test_log_loss"] == pytest.approx(log_loss(data.test_labels, probabilities), rel=1e-4)


def test_the_graph_agrees_with_the_formula(data, pipelines):
    pipeline = pipelines[ModelKind.LOGISTIC]
    scaler = json.loads(export_scaler(pipeline))
    scaled = (data.test_rows - np.array(scaler["mean"])) / np.array(scaler["scale"])
    odds = scaled @ pipeline[-1].coef_[0] + pipeline[-1].intercept_[0]
    _, probabilities = OnnxSession(export_onnx(pipeline)).predict(data.test_rows)
    assert np.allclose(probabilities[:, 1], 1.0 / (1.0 + np.exp(-odds)), atol=1e-5)


def test_a_graph_of_another_model_is_not_taken_for_this_one(data, pipelines):
    with pytest.raises(InconclusiveError, match="labels differ"):
        difference_max(export_onnx(pipelines[ModelKind.MLP]), pipelines[ModelKind.LOGISTIC], data.test_rows)


def test_metadata_say_what_was_made(stores, data):
    known = stores[ModelKind.MLP].load().metadata
    assert (known.model, known.version, known.precision, known.seed) == ("mlp", "v1.0.0", Precision.FP32, 0)
    assert known.parameters == recipe(ModelKind.MLP).parameters(30)
    assert tuple(feature.name for feature in known.features) == data.names
    assert known.metrics["test_accuracy"] > 0.93
    assert set(known.files) == {MODEL_FILE, SCALER_FILE}
    assert set(known.libraries) == {"numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx"}


# The commands.


def test_the_first_version_is_current_and_later_ones_when_they_are_promoted(train, tmp_path):
    store = ArtifactStore(tmp_path / "logistic")
    for arguments, current in (
        (["--version", "v1.0.0"], "v1.0.0"),
        (["--version", "v1.1.0"], "v1.0.0"),
        (["--version", "v1.2.0", "--promote"], "v1.2.0"),
    ):
        done = train("--model", "logistic", *arguments)
        assert done.exit_code == 0, done.output
        assert store.current() == current
    assert done.stdout.startswith("logistic v1.2.0: 31 parameters, test accuracy 0.9")


def test_a_version_that_is_there_is_refused_for_all_models_before_any_is_trained(train, tmp_path):
    (tmp_path / "mlp" / "v1.0.0").mkdir(parents=True)
    done = train()
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "use --version v1.0.1" in done.output
    assert not (tmp_path / "logistic").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "tree"], "logistic"),
        (["--version", "1.0"], "must look like v1.0.0"),
        (["--hidden", "0"], "hidden"),
    ],
)
def test_what_the_command_refuses(train, arguments, said):
    done = CliRunner().invoke(app, arguments) if arguments[0] == "--hidden" else train(*arguments)
    assert done.exit_code == 2
    assert said in done.output


# Eight bits.


def test_a_quantized_model_answers_alike_and_says_what_it_was_made_from(stores, data, tmp_path):
    source = stores[ModelKind.MLP].load()
    written = quantize_into(ArtifactStore(tmp_path / "mlp-int8"), source, data, "v1.0.0")
    known = written.metadata
    assert (known.model, known.precision) == ("mlp-int8", Precision.INT8)
    assert (known.source.version, known.source.sha256) == ("v1.0.0", source.metadata.files[MODEL_FILE].sha256)
    labels, sure = OnnxSession(source.model).predict(data.test_rows)
    quantized, surely = OnnxSession(written.model).predict(data.test_rows)
    assert known.metrics["probability_difference_max"] == pytest.approx(float(np.abs(surely - sure).max()))
    assert np.count_nonzero(labels != quantized) == known.metrics["test_labels_changed"] <= 5
    assert known.metrics["file_ratio"] == len(source.model) / len(written.model) > 1.5
    assert (
        b"MatMulInteger" in written.model
        or b"QLinearMatMul" in written.model
        or b"QuantizeLinear" in written.model
    )
    scales = {
        one.name: list(one.dims) for one in onnx.load_model_from_string(written.model).graph.initializer
    }
    assert scales["coefficient_scale"] == scales["coefficient1_scale"] == [64]  # one for each column
    with pytest.raises(InputError, match="quantized already"):
        quantize_into(ArtifactStore(tmp_path / "again"), written, data, "v1.0.0")


def test_the_command_quantizes_the_current_version(stores, tmp_path):
    words = ["--output", str(tmp_path / "int8")]
    done = CliRunner().invoke(quantize_app, ["--artifacts", str(stores[ModelKind.MLP].root), *words])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == "mlp-int8"
    assert ArtifactStore(tmp_path / "int8").current() == "v1.0.0"
    done = CliRunner().invoke(quantize_app, ["--artifacts", str(stores[ModelKind.LOGISTIC].root), *words])
    assert done.exit_code == 2
