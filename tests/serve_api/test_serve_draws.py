"""Which version serves a batch, what a swap leaves behind, and which versions are alike."""

import os

import pytest
from serving import MadeUp, a_store, metric, onnx_model, publish, settings

from capacity.errors import InputError
from serve_api.server import versions as module
from serve_api.server.backend import warm_up
from serve_api.server.breaker import Breaker, CircuitState
from serve_api.server.metrics import Metrics
from serve_api.server.versions import Deployment, Loader, Versions, check_alike, deploy, step_back


def deployed(version="v1.0.0", **fields):
    backend = MadeUp(version)
    for name, value in fields.items():
        setattr(backend, name, value)
    return Deployment(backend=backend, breaker=Breaker(failures_max=1, cooldown_s=5.0))


def versions_with(share, canary="v1.1.0"):
    metrics = Metrics(settings())
    found = Versions(deployed(), metrics, canary=None if canary is None else deployed(canary), share=share)
    return found, metrics


def test_without_a_canary_nothing_is_drawn():
    found, _ = versions_with(1.0, canary=None)
    assert found.draw(0.0) is found.serving


def test_a_canary_whose_circuit_is_open_serves_nothing_until_it_is_tried_again():
    found, _ = versions_with(1.0)
    assert found.draw(0.0) is found.canary
    found.canary.breaker.failed(10.0)
    assert found.draw(14.9) is found.serving
    assert found.canary.breaker.state(15.0) is CircuitState.HALF_OPEN
    assert found.draw(15.0) is found.canary


def test_a_swap_keeps_the_one_before_and_ends_a_canary_that_took_over():
    found, metrics = versions_with(0.5)
    first, canary = found.serving, found.canary
    assert [(role, one.version) for role, one in found.loaded()] == [
        ("serving", "v1.0.0"),
        ("canary", "v1.1.0"),
    ]
    other = deployed("v1.2.0")
    found.serve(other)
    assert (found.serving, found.previous, found.canary) == (other, first, canary)
    found.serve(canary)
    assert (found.serving, found.previous, found.canary) == (canary, other, None)
    text = metrics.text()
    assert metric(text, "serve_model_info", version="v1.1.0", role="serving") == 1
    assert metric(text, "serve_model_info", version="v1.2.0", role="previous") == 1
    assert "v1.0.0" not in text.decode()


def test_a_version_that_takes_or_gives_other_things_is_refused():
    serving = deployed()
    check_alike(deployed("v1.1.0"), serving)
    names = serving.backend.features
    for fields in ({"features": (*names, "more")}, {"features": names[:-1]}, {"classes": 3}, {"classes": 1}):
        new = deployed("v1.1.0", **fields)
        count = len(new.backend.features)
        with pytest.raises(InputError) as caught:
            check_alike(new, serving)
        assert str(caught.value) == (
            f"version v1.1.0 has other features or classes than v1.0.0 ({count} and {len(names)} features); serve "
            "it by a server of its own"
        )


def test_a_deployment_has_the_circuit_of_the_settings():
    wanted = settings(breaker_failures=2, breaker_cooldown_s=7.0, batch_size_max=4)
    model = MadeUp()
    breaker = deploy(model, wanted).breaker
    breaker.failed(1.0)
    assert breaker.state(1.0) is CircuitState.CLOSED
    breaker.failed(2.0)
    assert [breaker.state(now_s) for now_s in (2.0, 8.9, 9.0)] == [
        CircuitState.OPEN, CircuitState.OPEN, CircuitState.HALF_OPEN
    ]  # fmt: skip
    assert max(model.sizes) == 4  # it was warmed up by the largest batch


@pytest.mark.parametrize(
    ("canary", "roles"),
    [
        (None, {"serving": "v1.0.0"}),
        ("v1.0.0", {"serving": "v1.0.0"}),
        ("v1.1.0", {"serving": "v1.0.0", "canary": "v1.1.0"}),
        ("v0.9.0", {"serving": "v1.0.0", "canary": "v0.9.0"}),
    ],
)
def test_the_versions_at_first_are_the_current_one_and_a_canary_of_another(tmp_path, canary, roles):
    store = a_store(tmp_path / "mlp")
    for version in ("v1.1.0", "v0.9.0"):
        publish(store, version, onnx_model(bias=1.0))
    wanted = settings(artifacts=store.root, emulate=None, canary=canary, canary_share=0.25)
    found = Loader(wanted, Metrics(wanted)).versions()
    assert {role: one.version for role, one in found.loaded()} == roles
    assert found._share == (0.25 if "canary" in roles else 0.0)


def test_the_mark_is_that_of_the_link(tmp_path):
    store = a_store(tmp_path / "mlp")
    wanted = settings(artifacts=store.root, emulate=None)
    loader = Loader(wanted, Metrics(wanted))
    os.utime(store.root / "current", ns=(5, 7), follow_symlinks=False)
    assert loader._mark() == 7
    (store.root / "current").unlink()
    assert loader._mark() == 0


@pytest.mark.parametrize(("nice", "before", "after"), [(10, 0, 10), (10, 15, 15), (0, 5, None)])
def test_a_thread_steps_back_and_never_forward(monkeypatch, nice, before, after):
    told: list[int] = []
    monkeypatch.setattr(module.os, "getpriority", lambda *_: before)
    monkeypatch.setattr(module.os, "setpriority", lambda _which, _who, value: told.append(value))
    step_back(nice)
    assert told == ([] if after is None else [after])


# What is warmed up.


class Unfit(MadeUp):
    """Answers batches of a size otherwise."""

    def __init__(self, at: int, how: str) -> None:
        super().__init__()
        self.at, self.how = at, how

    def predict(self, rows):
        found = super().predict(rows)
        if len(rows) != self.at:
            return found
        if self.how == "raises":
            raise RuntimeError("SECRET")
        if self.how == "short":
            return found._replace(labels=found.labels[1:])
        return found._replace(finite=[True] * (len(rows) - 1) + [False])


@pytest.mark.parametrize(
    ("at", "how", "why"),
    [(1, "raises", "RuntimeError"), (8, "short", "no finite answer"), (8, "infinite", "no finite answer")],
)
def test_a_model_that_cannot_answer_what_is_typical_is_not_served(at, how, why):
    with pytest.raises(InputError) as caught:
        warm_up(Unfit(at, how), 8)
    assert str(caught.value) == (
        f"version v1.0.0: fails at a batch of {at} rows of the features' means ({why}); train it again"
    )
