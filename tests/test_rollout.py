"""New versions while the old one serves: swaps, refusals, the way back."""

import asyncio
import gc
import math
import threading
import weakref
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest
from serving import (
    NAMES,
    PATIENCE_S,
    MadeUp,
    a_store,
    alive,
    ask,
    instances,
    metric,
    onnx_model,
    publish,
    settings,
)
from typer.testing import CliRunner

from capacity.errors import CapacityError, DependencyError, InputError
from serve_api.app import create_app
from serve_api.breaker import CircuitState
from serve_api.commands import app as commands
from serve_api.deployment import Deployment
from serve_api.loading import Loader, in_thread
from serve_api.metrics import Metrics
from serve_api.watcher import Watcher

SLOWLY = 3600.0  # so that the test looks, and the application does not


@asynccontextmanager
async def serving(store, **rollout):
    """An application over a store, its watcher, and a look at its metrics."""
    rollout = {"poll_interval_s": SLOWLY, **rollout}
    wanted, metrics = settings(store.root, batch={"wait_max_s": 0.0}, rollout=rollout), Metrics()
    loader = Loader(wanted, metrics)
    versions = loader.rollout()
    app = create_app(wanted, versions, metrics)
    async with alive(app):
        yield app, Watcher(loader, versions, metrics)


async def version_of(app):
    return (await ask(app, instances())).json["model_version"]


async def metrics_of(app):
    return (await ask(app, method="GET", path="/metrics")).body.decode()


def test_a_version_that_becomes_current_is_served_and_the_old_one_kept(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(bias=1.0))

    async def story():
        async with serving(store) as (app, watcher):
            await watcher.look()
            first = await ask(app, instances())
            store.set_current("v1.1.0")
            await watcher.look()
            return first, await ask(app, instances()), await metrics_of(app)

    first, second, text = asyncio.run(story())
    assert (first.json["model_version"], first.json["predictions"]) == ("v1.0.0", [0])
    assert (second.json["model_version"], second.json["predictions"]) == ("v1.1.0", [1])
    assert metric(text, "serve_model_info", version="v1.1.0", role="serving") == 1
    assert metric(text, "serve_model_info", version="v1.0.0", role="previous") == 1
    assert metric(text, "serve_reloads_total", outcome="swapped") == 1


def test_the_way_back_needs_no_loading(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(bias=1.0))

    async def story():
        async with serving(store) as (app, watcher):
            store.set_current("v1.1.0")
            await watcher.look()
            assert await version_of(app) == "v1.1.0"
            result = CliRunner().invoke(commands, ["rollback", "--artifacts", str(store.root)])
            assert (result.exit_code, result.output) == (0, "v1.0.0\n")
            before = app.service.rollout.previous
            await watcher.look()
            assert app.service.rollout.serving.backend is before.backend
            return await version_of(app)

    assert asyncio.run(story()) == "v1.0.0"


def test_a_version_that_is_no_longer_kept_is_let_go_at_once(tmp_path):
    """Not at some full collection: a model is large, and a few of them are all the memory that a replica has."""
    store = a_store(tmp_path)
    for version in ("v1.1.0", "v1.2.0"):
        publish(store, version, onnx_model(bias=1.0))

    async def story():
        async with serving(store) as (app, watcher):
            first = weakref.ref(app.service.rollout.serving)
            for version in ("v1.1.0", "v1.2.0"):
                store.set_current(version)
                await watcher.look()
            return await version_of(app), first() is None

    gc.disable()
    try:
        assert asyncio.run(story()) == ("v1.2.0", True)
    finally:
        gc.enable()


def test_promote_makes_current_what_is_fit(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model())
    run = CliRunner().invoke
    assert run(commands, ["promote", "v1.1.0", "--artifacts", str(store.root)]).exit_code == 0
    assert store.current() == "v1.1.0"
    refused = run(commands, ["promote", "v9.9.9", "--artifacts", str(store.root)])
    assert (refused.exit_code, refused.output.count("\n"), store.current()) == (2, 1, "v1.1.0")


def test_without_a_version_before_there_is_no_way_back(tmp_path):
    store = a_store(tmp_path)
    result = CliRunner().invoke(commands, ["rollback", "--artifacts", str(store.root)])
    assert result.exit_code == 2
    assert "knows of no version that was current before" in result.output


def damaged(store):
    """A version whose bytes changed after it became current."""
    publish(store, "v1.1.0", onnx_model(bias=1.0))
    store.set_current("v1.1.0")
    with (store.root / "v1.1.0" / "model.onnx").open("ab") as file:
        file.write(b"x")


def no_model(store):
    publish(store, "v1.1.0", b"no model")
    store.set_current("v1.1.0")


def no_answers(store):
    publish(store, "v1.1.0", onnx_model(weight=float("nan")))
    store.set_current("v1.1.0")


def more_features(store):
    publish(store, "v1.1.0", onnx_model(features=4), (*NAMES, "x3"))
    store.set_current("v1.1.0")


def features_of_another_order(store):
    publish(store, "v1.1.0", onnx_model(), NAMES[::-1])
    store.set_current("v1.1.0")


def other_features_than_it_says(store):
    publish(store, "v1.1.0", onnx_model(), NAMES[:1])
    store.set_current("v1.1.0")


def more_classes(store):
    publish(store, "v1.1.0", onnx_model(classes=3))
    store.set_current("v1.1.0")


def pointing_out(store):
    (store.root / "current").unlink()
    (store.root / "current").symlink_to("../elsewhere")


def gone(store):
    (store.root / "current").unlink()
    (store.root / "current").symlink_to("v7.0.0")


@pytest.mark.parametrize(
    "bad",
    [
        damaged,
        no_model,
        no_answers,
        more_features,
        features_of_another_order,
        other_features_than_it_says,
        more_classes,
        pointing_out,
        gone,
    ],
)
def test_a_bad_version_is_refused_once_and_the_old_one_serves_on(tmp_path, bad, capsys):
    store = a_store(tmp_path)

    async def story():
        async with serving(store) as (app, watcher):
            await watcher.look()
            bad(store)
            for _ in range(3):
                await watcher.look()
            return await version_of(app), await metrics_of(app)

    version, text = asyncio.run(story())
    assert version == "v1.0.0"
    assert metric(text, "serve_reloads_total", outcome="refused") == 1
    assert capsys.readouterr().err.count("version_refused") == 1


@pytest.mark.parametrize("bad", [more_features, features_of_another_order, more_classes])
def test_a_version_that_was_warm_before_it_was_refused_leaves_no_series(tmp_path, bad):
    store = a_store(tmp_path)

    async def story():
        async with serving(store) as (app, watcher):
            bad(store)
            await watcher.look()
            return await version_of(app), await metrics_of(app)

    version, text = asyncio.run(story())
    assert version == "v1.0.0"
    assert metric(text, "serve_reloads_total", outcome="refused") == 1
    assert 'version="v1.1.0"' not in text
    assert metric(text, "serve_request_seconds_count", version="v1.0.0") == 1


def test_a_refused_version_is_tried_again_when_it_is_made_current_again(tmp_path):
    store = a_store(tmp_path)

    async def story():
        async with serving(store) as (app, watcher):
            damaged(store)
            await watcher.look()
            model = store.root / "v1.1.0" / "model.onnx"
            model.write_bytes(onnx_model(bias=1.0))
            store.set_current("v1.1.0")
            await watcher.look()
            return await version_of(app)

    assert asyncio.run(story()) == "v1.1.0"


def test_whatever_loading_raises_the_old_version_serves_on(tmp_path, monkeypatch):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model())

    async def story():
        async with serving(store) as (app, watcher):
            store.set_current("v1.1.0")
            monkeypatch.setattr(watcher._loader, "begin", lambda version: 1 / 0)
            await watcher.look()
            return await version_of(app), await metrics_of(app)

    version, text = asyncio.run(story())
    assert version == "v1.0.0"
    assert metric(text, "serve_reloads_total", outcome="refused") == 1


def test_a_version_is_tried_again_where_it_was_the_disk_that_failed(tmp_path, monkeypatch, capsys):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model())
    clock = Mock()
    monkeypatch.setattr("serve_api.watcher.time", clock)
    tries = []

    async def story():
        async with serving(store) as (app, watcher):
            begin = watcher._loader.begin

            def after_two_failures(version):
                tries.append(version)
                if len(tries) < 3:
                    raise DependencyError("cannot read it: the disk failed")
                return begin(version)

            monkeypatch.setattr(watcher._loader, "begin", after_two_failures)
            store.set_current("v1.1.0")
            seen = []
            for clock.monotonic.return_value in (100.0, 100.9, 101.0, 102.9, 103.0, 999.0):
                await watcher.look()
                seen.append(len(tries))
            return seen, await version_of(app), await metrics_of(app)

    seen, version, text = asyncio.run(story())
    assert (seen, version) == ([1, 1, 2, 2, 3, 3], "v1.1.0")
    assert metric(text, "serve_reloads_total", outcome="refused") == 2
    assert metric(text, "serve_reloads_total", outcome="swapped") == 1
    logged = capsys.readouterr().err
    assert '"again_in_s": 1.0' in logged
    assert '"again_in_s": 2.0' in logged


def test_another_version_does_not_wait_until_the_one_before_is_tried_again(tmp_path, monkeypatch):
    store = a_store(tmp_path)
    for version in ("v1.1.0", "v1.2.0"):
        publish(store, version, onnx_model())

    async def story():
        async with serving(store) as (app, watcher):
            store.set_current("v1.1.0")
            with monkeypatch.context() as patch:
                patch.setattr(watcher._loader, "begin", lambda version: 1 / 0)
                await watcher.look()
            store.set_current("v1.2.0")
            await watcher.look()
            return await version_of(app)

    assert asyncio.run(story()) == "v1.2.0"


@pytest.mark.parametrize("way", ["promoted", "rolled back"])
@pytest.mark.parametrize("well", [True, False], ids=["answers", "fails"])
def test_a_version_whose_circuit_is_open_comes_back_only_if_it_answers(tmp_path, way, well, monkeypatch):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model())
    canary = {"canary": "v1.1.0", "canary_share": 0.0} if way == "promoted" else {}

    async def story():
        async with serving(store, **canary) as (app, watcher):
            rollout = app.service.rollout
            wanted = "v1.1.0"
            if way == "rolled back":
                store.set_current("v1.1.0")
                await watcher.look()
                wanted = "v1.0.0"
            known = rollout.find(wanted)
            known.breaker.hold()
            if not well:
                monkeypatch.setattr(known.backend, "predict", lambda rows: 1 / 0)
            store.set_current(wanted)
            await watcher.look()
            answer = await ask(app, instances())
            return wanted, answer, rollout.serving.breaker.state(math.inf)

    wanted, answer, state = asyncio.run(story())
    assert (answer.status, state) == (200, CircuitState.CLOSED)
    assert (answer.json["model_version"] == wanted) is well


def test_the_threads_of_the_command_line_are_those_of_the_model(tmp_path, monkeypatch):
    store, found = a_store(tmp_path), []
    monkeypatch.setattr("serve_api.running.serve", found.append)
    CliRunner().invoke(commands, ["--artifacts", str(store.root), "--threads", "3"])
    (wanted,) = found
    assert Loader(wanted, Metrics()).rollout().serving.backend.threads == 3


def test_a_version_that_hangs_as_it_is_warmed_up_is_refused(tmp_path):
    model, metrics = MadeUp(), Metrics()
    model.gate.clear()
    wanted = settings(tmp_path, inference={"time_max_s": 0.005})
    loading = Loader(wanted, metrics).renew(Deployment(model, wanted.breaker, metrics))
    with pytest.raises(InputError, match=r"version v1.0.0: is not warm after 0.05 s"):
        loading.result(PATIENCE_S)
    model.gate.set()


def test_who_gives_up_a_version_on_its_way_does_not_break_its_thread():
    gate, ended = threading.Event(), threading.Event()

    def work():
        gate.wait(PATIENCE_S)
        ended.set()

    async def story():
        asking = asyncio.create_task(asyncio.wait_for(asyncio.wrap_future(loading), 0.01))
        with pytest.raises(TimeoutError):
            await asking

    loading = in_thread(work)
    asyncio.run(story())
    gate.set()
    assert loading.result(PATIENCE_S) is None  # it ended as if somebody had waited
    assert ended.is_set()


def test_series_of_versions_that_are_gone_are_dropped(tmp_path):
    store = a_store(tmp_path)
    for version in ("v1.1.0", "v1.2.0"):
        publish(store, version, onnx_model())

    async def story():
        async with serving(store) as (app, watcher):
            texts = []
            for version in ("v1.1.0", "v1.2.0"):
                await ask(app, instances())
                await ask(app, b"{")
                store.set_current(version)
                await watcher.look()
                texts.append(await metrics_of(app))
            return texts, await version_of(app)

    (before, after), version = asyncio.run(story())
    assert version == "v1.2.0"
    # It may be needed for a way back.
    assert metric(before, "serve_requests_total", version="v1.0.0") == 2
    assert 'version="v1.0.0"' not in after
    for name in ("serve_requests_total", "serve_request_seconds_count", "serve_batches_total"):
        assert metric(after, name, version="v1.1.0") >= 1
    assert metric(after, "serve_batch_seconds_count") == 1
    assert metric(after, "serve_queue_wait_seconds_count") == 2


def test_the_application_itself_looks(tmp_path):

    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model())

    async def story():
        wanted, metrics = settings(tmp_path, rollout={"poll_interval_s": 0.01}), Metrics()
        loader = Loader(wanted, metrics)
        app = create_app(wanted, loader.rollout(), metrics, loader)
        async with alive(app):
            store.set_current("v1.1.0")
            for _ in range(2000):
                if await version_of(app) == "v1.1.0":
                    return True
                await asyncio.sleep(0.01)
        return False

    assert asyncio.run(story())


def test_a_canary_that_becomes_current_serves_all_and_is_none_any_more(tmp_path):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model())

    async def story():
        async with serving(store, canary="v1.1.0", canary_share=0.0) as (app, watcher):
            canary = app.service.rollout.canary
            assert await version_of(app) == "v1.0.0"
            store.set_current("v1.1.0")
            await watcher.look()
            assert app.service.rollout.serving.backend is canary.backend
            assert app.service.rollout.canary is None
            return await version_of(app)

    assert asyncio.run(story()) == "v1.1.0"


@pytest.mark.parametrize("canary", ["v7.0.0", "v1.1.0"], ids=["not there", "of other features"])
def test_a_canary_that_is_not_fit_is_refused_at_the_start(tmp_path, canary):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(features=4), (*NAMES, "x3"))
    wanted = settings(tmp_path, rollout={"canary": canary})
    with pytest.raises(CapacityError):
        Loader(wanted, Metrics()).rollout()


def test_a_store_without_a_current_version_is_refused_at_the_start(tmp_path):
    store = a_store(tmp_path)
    (store.root / "current").unlink()
    with pytest.raises(InputError, match="no current version"):
        Loader(settings(tmp_path), Metrics()).rollout()
