"""Versions in service: loaded and checked, swapped without a pause, refused where they are not fit."""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from serving import (
    ROW,
    MadeUp,
    a_store,
    alive,
    ask,
    instances,
    metric,
    onnx_model,
    publish,
    settings,
    versions_of,
)

from capacity.errors import InputError
from serve_api.models.store import ArtifactStore
from serve_api.server.app import Service
from serve_api.server.backend import Backend, warm_up
from serve_api.server.breaker import CircuitState
from serve_api.server.metrics import Metrics
from serve_api.server.versions import Loader


def loaded(root, **given):
    """A service of a store, and what loads its versions."""
    wanted = settings(root, batch_wait_max_s=0.0, poll_interval_s=0.02, **given)
    metrics = Metrics(wanted)
    loader = Loader(wanted, metrics)
    return Service(wanted, loader.versions(), metrics), loader


def look(service, loader):
    asyncio.run(loader.look(service.versions))
    return service.versions.serving.version


@pytest.fixture
def store(tmp_path):
    """Two versions, v1.0.0 current; v1.1.0 predicts the other class."""
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(bias=1.0))
    return store


def test_a_model_answers_rows(store):
    backend = Backend(store.load(), threads=1)
    answers = backend.predict(np.array([ROW, ROW], dtype=np.float32))
    assert (answers.labels, answers.finite) == ([0, 0], [True, True])
    assert np.allclose(answers.probabilities, [[0.731, 0.269]] * 2, atol=1e-3)
    assert (backend.features, backend.classes) == (("x0", "x1", "x2"), 2)


def test_a_version_that_becomes_current_is_served_and_the_old_one_kept(store):
    service, loader = loaded(store.root)
    store.set_current("v1.1.0")
    assert look(service, loader) == "v1.1.0"
    text = service.metrics.text()
    assert metric(text, "serve_reloads_total", outcome="swapped") == 1
    assert metric(text, "serve_model_info", role="previous", version="v1.0.0") == 1
    assert look(service, loader) == "v1.1.0"  # nothing new
    assert metric(service.metrics.text(), "serve_reloads_total") == 1


def test_the_way_back_needs_no_loading(store):
    service, loader = loaded(store.root)
    first = service.versions.serving.backend
    service.versions.serving.breaker.hold()
    store.set_current("v1.1.0")
    look(service, loader)
    store.rollback()
    assert look(service, loader) == "v1.0.0"
    assert service.versions.serving.backend is first
    assert service.versions.serving.breaker.state(0.0) is CircuitState.CLOSED  # it has answered again


def no_model(store):
    publish(store, "v1.2.0", b"no model")


def without_answer(store):
    publish(store, "v1.2.0", onnx_model(weight=float("nan")))


def of_double_precision(store):
    model = onnx.load_model_from_string(onnx_model())
    _, softmax, label = model.graph.node
    softmax.output[0] = label.input[0] = "single"
    double = onnx.TensorProto.DOUBLE
    model.graph.node.append(onnx.helper.make_node("Cast", ["single"], ["probabilities"], to=double))
    model.graph.output[1].type.tensor_type.elem_type = double
    publish(store, "v1.2.0", model.SerializeToString())


def of_other_width(store):
    publish(store, "v1.2.0", onnx_model(features=4))


def of_other_features(store):
    publish(store, "v1.2.0", onnx_model(), names=("x0", "x2", "x1"))


def of_other_classes(store):
    publish(store, "v1.2.0", onnx_model(classes=3))


BAD = [no_model, of_double_precision, without_answer, of_other_width, of_other_features, of_other_classes]


@pytest.mark.parametrize("bad", BAD)
def test_a_version_that_is_not_fit_is_refused_and_the_old_one_serves_on(store, bad, capsys):
    service, loader = loaded(store.root)
    bad(store)
    store.set_current("v1.2.0")
    assert look(service, loader) == "v1.0.0"
    logged = json.loads(capsys.readouterr().err)
    assert (logged["event"], logged["serving"]) == ("version_refused", "v1.0.0")
    assert "v1.2.0" in logged["why"]
    assert metric(service.metrics.text(), "serve_reloads_total", outcome="refused") == 1


def test_damage_after_it_was_made_current_is_seen(store):
    service, loader = loaded(store.root)
    store.set_current("v1.1.0")
    with (store.root / "v1.1.0" / "model.onnx").open("r+b") as file:
        file.write(b"xxxx")
    assert look(service, loader) == "v1.0.0"


@pytest.mark.parametrize("bad", BAD)
def test_a_canary_that_is_not_fit_is_refused_at_the_start(store, bad):
    bad(store)
    with pytest.raises(InputError, match=r"v1\.2\.0"):
        loaded(store.root, canary="v1.2.0")


def test_a_store_without_a_current_version_is_refused_at_the_start(tmp_path):
    with pytest.raises(InputError, match="no current version"):
        loaded(ArtifactStore(tmp_path).root)


def test_a_canary_that_is_made_current_serves_all_and_is_none_any_more(store):
    service, loader = loaded(store.root, canary="v1.1.0", canary_share=0.5)
    assert [role for role, _ in service.versions.loaded()] == ["serving", "canary"]
    store.set_current("v1.1.0")
    assert look(service, loader) == "v1.1.0"
    assert [role for role, _ in service.versions.loaded()] == ["serving", "previous"]


def test_a_running_application_swaps_and_tries_a_refused_version_when_it_is_set_anew(store):
    async def until(service, version):
        while service.versions.serving.version != version:
            await asyncio.sleep(0.01)

    async def story():
        service, loader = loaded(store.root)
        no_model(store)
        async with alive(service, loader) as app:
            store.set_current("v1.2.0")
            while metric(service.metrics.text(), "serve_reloads_total", outcome="refused") < 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # several looks: it is not tried again
            assert metric(service.metrics.text(), "serve_reloads_total", outcome="refused") == 1
            store.set_current("v1.1.0")
            await asyncio.wait_for(until(service, "v1.1.0"), 30.0)
            return await ask(app, instances())

    assert asyncio.run(story()).json["model_version"] == "v1.1.0"


def test_a_version_is_warmed_up_with_its_smallest_and_largest_batch():
    model = MadeUp()
    warm_up(model, 7)
    assert model.sizes == [1, 7] * 5
    assert set(model.rows) == {0.0}


@pytest.mark.parametrize(("dice", "share", "version"), [
    (0.24, 0.25, "v1.1.0"), (0.25, 0.25, "v1.0.0"), (0.0, 0.0, "v1.0.0"), (0.99, 1.0, "v1.1.0"),
])  # fmt: skip
def test_a_canary_is_drawn_by_its_share(dice, share, version):
    wanted = settings(canary_share=share)
    versions = versions_of(wanted, Metrics(wanted), MadeUp(), MadeUp("v1.1.0"))
    versions._random = SimpleNamespace(random=lambda: dice)
    assert versions.draw(0.0).version == version
    versions.canary.breaker.hold()
    assert versions.draw(0.0).version == "v1.0.0"
