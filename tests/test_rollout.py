"""New versions while the old one serves: swaps, refusals, the way back."""

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager

import pytest
from serving import a_store, alive, ask, instances, metric, onnx_model, publish, settings
from typer.testing import CliRunner

from capacity.errors import CapacityError, InputError
from serve_api.app import create_app
from serve_api.commands import app as commands
from serve_api.loading import Loader
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
            assert app.service.rollout.serving is before
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


def other_features(store):
    publish(store, "v1.1.0", onnx_model(features=5))
    store.set_current("v1.1.0")


def pointing_out(store):
    (store.root / "current").unlink()
    (store.root / "current").symlink_to("../elsewhere")


def gone(store):
    (store.root / "current").unlink()
    (store.root / "current").symlink_to("v7.0.0")


@pytest.mark.parametrize("bad", [damaged, no_model, no_answers, other_features, pointing_out, gone])
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
            assert app.service.rollout.serving is canary
            assert app.service.rollout.canary is None
            return await version_of(app)

    assert asyncio.run(story()) == "v1.1.0"


@pytest.mark.parametrize("canary", ["v7.0.0", "v1.1.0"], ids=["not there", "of other features"])
def test_a_canary_that_is_not_fit_is_refused_at_the_start(tmp_path, canary):
    store = a_store(tmp_path)
    publish(store, "v1.1.0", onnx_model(features=5))
    wanted = settings(tmp_path, rollout={"canary": canary})
    with pytest.raises(CapacityError):
        Loader(wanted, Metrics()).rollout()


def test_a_store_without_a_current_version_is_refused_at_the_start(tmp_path):
    store = a_store(tmp_path)
    (store.root / "current").unlink()
    with pytest.raises(InputError, match="no current version"):
        Loader(settings(tmp_path), Metrics()).rollout()
