"""The ONNX backend: what it takes for a model, and what for an answer."""

import itertools
import os
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from prometheus_client.parser import text_string_to_metric_families
from serving import FAR, FEATURES, NAMES, ROW, MadeUp, onnx_model

from capacity.errors import InputError
from serve_api.backend import OnnxBackend, Predictions, still_answers, warm_up
from serve_api.histogram import HistogramFamily, logarithmic_bounds_s
from serve_api.inference_thread import step_back
from serve_api.metadata import Feature


def backend(model, names=NAMES, mean=0.0, threads=1):
    features = [Feature(name=name, mean=mean, low=mean, high=mean) for name in names]
    return OnnxBackend(model, version="v1.0.0", features=features, threads=threads)


def rows(count=2, features=FEATURES):
    return np.zeros((count, features), dtype=np.float32)


def model_of(node, outputs, inputs=(("features", TensorProto.FLOAT, ["n", 3]),)):
    """A model of one node beside a constant label."""
    label = helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0)
    infos = (
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
    )
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.float32), "zero")
    graph = helper.make_graph([node, label], "g", *infos, [zero])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


LABEL = ("label", TensorProto.INT64, ["n"])
PROBABILITIES = ("probabilities", TensorProto.FLOAT, ["n", 3])
IDENTITY = helper.make_node("Identity", ["features"], ["probabilities"])


def test_a_model_answers_rows():
    model = backend(onnx_model(bias=1.0))
    assert (model.features, model.classes) == (NAMES, 2)
    answer = model.predict(rows())
    assert answer.labels == [1, 1]
    assert answer.probabilities[0] == pytest.approx([0.2689, 0.7311], abs=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_runtime_has_as_many_threads_as_it_was_told_whatever_the_machine_has(threads):
    model = backend(onnx_model(), threads=threads)
    options = model._session.get_session_options()
    assert model.threads == options.intra_op_num_threads == threads
    assert options.inter_op_num_threads == 1


@pytest.mark.parametrize("model", [b"", b"no model", onnx_model()[:-40]], ids=["empty", "text", "cut off"])
def test_what_is_no_model_is_refused_without_the_words_of_the_runtime(model):
    with pytest.raises(
        InputError, match=r"^version v1.0.0: the runtime refuses the model \(\w+\); export it anew$"
    ):
        backend(model)


@pytest.mark.parametrize(
    "model",
    [
        model_of(IDENTITY, [LABEL, PROBABILITIES], [("rows", TensorProto.FLOAT, ["n", 3])]).replace(b"features", b"rows\0\0\0\0"),
        model_of(IDENTITY, [LABEL, PROBABILITIES], [("features", TensorProto.FLOAT, ["n", "k"])]),
        model_of(IDENTITY, [PROBABILITIES]),
    ],
    ids=["names", "any width", "no label"],
)  # fmt: skip
def test_a_model_of_another_interface_is_refused(model):
    with pytest.raises(InputError):
        backend(model)


DIVIDED = model_of(helper.make_node("Div", ["features", "zero"], ["probabilities"]), [LABEL, PROBABILITIES])
LOGARITHM = model_of(helper.make_node("Log", ["features"], ["probabilities"]), [LABEL, PROBABILITIES])


def test_a_model_whose_answers_are_not_finite_is_not_fit():
    model = backend(DIVIDED)
    assert model.predict(rows()).unanswered == {0, 1}
    assert not still_answers(model)
    with pytest.raises(InputError, match="has no finite answer to a row of the features' means"):
        warm_up(model, 4)


def test_rows_without_a_finite_answer_are_named_and_the_others_are_answered():
    answer = backend(onnx_model(bias=1.0, weight=1e3)).predict(
        np.array([ROW, [FAR] * FEATURES, ROW], dtype=np.float32)
    )
    assert answer.unanswered == {1}
    assert [answer.labels[row] for row in (0, 2)] == [1, 1]
    assert answer.probabilities[0] == answer.probabilities[2] == pytest.approx([0.2689, 0.7311], abs=1e-4)


def test_a_model_is_warmed_up_by_the_means_of_its_features():
    warm_up(backend(LOGARITHM, mean=1.0), 4)
    with pytest.raises(InputError, match="means"):
        warm_up(backend(LOGARITHM, mean=0.0), 4)


def test_a_model_that_raises_at_its_means_is_not_fit():
    model = MadeUp()
    model.failing = True
    with pytest.raises(
        InputError, match=r"fails at a batch of \d+ rows of the features' means \(RuntimeError\)"
    ):
        warm_up(model, 4)


@pytest.mark.parametrize("names", [NAMES[:2], (*NAMES, "x3")])
def test_a_model_is_held_against_the_features_that_its_metadata_name(names):
    with pytest.raises(
        InputError, match=f"takes 3 features and its metadata name {len(names)}; export it anew"
    ):
        backend(onnx_model(), names)


def test_warm_up_runs_the_smallest_and_the_largest_batch():
    model = MadeUp()
    warm_up(model, 7)
    assert set(model.sizes) == {1, 7}


def test_a_model_that_answers_too_few_rows_is_not_fit():
    class Short(MadeUp):
        def predict(self, rows):
            return Predictions([0], [[1.0]])

    with pytest.raises(InputError, match="gives 1 answers to 7 rows"):
        warm_up(Short(), 7)


def nice():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def nice_after(*steps):
    """Of a thread that steps back so."""
    found = []

    def work():
        for step in steps:
            step_back(step)
        found.append(nice())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found


def test_one_thread_steps_back_and_the_others_do_not():
    before = nice()
    assert nice_after(3) == [3]
    assert nice() == before


def test_a_thread_that_is_lower_already_stays_there():
    # As under `nice -n 15`: to raise itself a process needs a right, and without it would not even start.
    assert nice_after(15, 10) == [15]


def test_a_duration_is_counted_in_its_bucket_and_all_above():
    family = HistogramFamily("x", "X.", ["who"], (1.0, 2.0))
    family.labels("b")
    for seconds in (0.5, 1.0, 1.5, 9.0):
        family.labels("a").observe(seconds)
    (family_read,) = text_string_to_metric_families(family.text())
    samples = [sample for sample in family_read.samples if sample.labels["who"] == "a"]
    assert (family_read.type, family_read.documentation) == ("histogram", "X.")
    buckets = {s.labels["le"]: s.value for s in samples if s.name == "x_bucket"}
    assert buckets == {"1.0": 2.0, "2.0": 3.0, "+Inf": 4.0}
    assert {s.name: s.value for s in samples if s.name in ("x_sum", "x_count")} == {
        "x_sum": 12.0,
        "x_count": 4.0,
    }


def test_buckets_are_ten_percent_apart_from_a_tenth_of_a_millisecond_to_ten_seconds():
    bounds_s = logarithmic_bounds_s()
    ratios = [high / low for low, high in itertools.pairwise(bounds_s)]
    assert (bounds_s[0], bounds_s[-1]) == (1e-4, 10.0)
    assert all(1.1 < ratio < 1.1013 for ratio in ratios)
