"""What tests of the server share: made-up models, stores, and an application in this process."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper

from serve_api.models.metadata import MODEL_FILE, SCALER_FILE, Feature, Metadata, Precision, digest
from serve_api.models.store import Artifact, ArtifactStore
from serve_api.server.app import Service, create_app
from serve_api.server.backend import Answers, FloatRows
from serve_api.server.breaker import Breaker
from serve_api.server.metrics import Metrics
from serve_api.server.settings import Settings
from serve_api.server.versions import Deployment, Versions

ROOT = Path(__file__).parent.parent
FEATURES = 3
ROW = [1.0, 2.0, 3.0]
NAMES = ("x0", "x1", "x2")
FAR = 2.0**126  # as a first feature: no made-up model has a finite answer to it
PATIENCE_S = 30.0  # for what takes milliseconds, on a machine that does much else


class MadeUp:
    """A model whose label is the first feature; it can be held, made to fail, and told what it saw."""

    def __init__(self, version: str = "v1.0.0", features: int = FEATURES) -> None:
        self.version = version
        self.features = tuple(f"x{index}" for index in range(features))
        self.classes = 2
        self.typical = np.zeros((1, features), dtype=np.float32)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failing = False
        self.sizes: list[int] = []
        self.rows: list[float] = []

    def predict(self, rows: FloatRows) -> Answers:
        self.sizes.append(len(rows))
        self.rows += rows[:, 0].tolist()
        self.entered.set()
        if not self.gate.wait(PATIENCE_S):
            raise TimeoutError
        if self.failing:
            raise RuntimeError("SECRET of the user")
        labels = [int(x) for x in rows[:, 0]]
        return Answers(labels, [[0.25, 0.75] for _ in labels], [label < FAR for label in labels])


def settings(artifacts: Path = Path("unused"), **given: Any) -> Settings:
    """Settings with some of them other than by default."""
    return Settings(artifacts=artifacts, **given)


def versions_of(wanted: Settings, metrics: Metrics, serving: Any, canary: Any = None) -> Versions:
    """Models in service, each with its circuit."""

    def deployment(backend: Any) -> Deployment:
        limits = {"failures_max": wanted.breaker_failures, "cooldown_s": wanted.breaker_cooldown_s}
        return Deployment(backend=backend, breaker=Breaker(**limits))

    second = None if canary is None else deployment(canary)
    return Versions(deployment(serving), metrics, canary=second, share=wanted.canary_share)


def service_of(backend: Any, canary: Any = None, **given: Any) -> Service:
    """A service of a made-up model."""
    wanted = settings(**given)
    metrics = Metrics(wanted)
    return Service(wanted, versions_of(wanted, metrics, backend, canary), metrics)


class Answer:
    """What an application answered."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode().lower(): value.decode() for name, value in headers}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: FastAPI,
    body: bytes | list[bytes] = b"",
    *,
    method: str = "POST",
    path: str = "/predict",
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request through the application; a body in parts comes in parts."""
    parts = [body] if isinstance(body, bytes) else list(body)
    sent: list[Any] = []

    async def receive() -> Any:
        if not parts:
            await asyncio.sleep(PATIENCE_S)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": pairs, "scheme": "http", "http_version": "1.1",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
    }  # fmt: skip
    await app(scope, receive, send)
    return Answer(sent[0]["status"], sent[0]["headers"], b"".join(m.get("body", b"") for m in sent[1:]))


def instances(*rows: list[float]) -> bytes:
    return json.dumps({"instances": list(rows) or [ROW]}).encode()


@asynccontextmanager
async def alive(service: Service, loader: Any = None) -> AsyncIterator[FastAPI]:
    """An application within its life span."""
    app = create_app(service, loader)
    async with app.router.lifespan_context(app):
        yield app


def metric(text: str | bytes, name: str, **labels: str) -> float:
    """Sum of the series of a name that have these labels."""
    shown = text.decode() if isinstance(text, bytes) else text
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in shown.splitlines() if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(w in line for w in wanted))


def onnx_model(bias: float = 0.0, features: int = FEATURES, weight: float = 0.0, classes: int = 2) -> bytes:
    """A linear model; the second class more likely by a bias. With a weight of NaN it has no answer."""
    weights = np.full((features, classes), weight, dtype=np.float32)
    shift = np.array([0.0, bias, *[0.0] * (classes - 2)], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["features", "w", "b"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", features])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes]),
        ],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(shift, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def publish(store: ArtifactStore, version: str, model: bytes, names: Sequence[str] = NAMES) -> Artifact:
    """A version in a store, whatever its model is."""
    files = {MODEL_FILE: model, SCALER_FILE: b"{}"}
    return store.publish(
        Metadata(
            model="made-up", version=version, precision=Precision.FP32, parameters=1, seed=0,
            features=tuple(Feature(name=name, mean=0.0, low=0.0, high=0.0) for name in names),
            metrics={}, libraries={"onnx": onnx.__version__},
            files={name: digest(data) for name, data in files.items()},
        ),
        files,
    )  # fmt: skip


def a_store(root: Path) -> ArtifactStore:
    """A store of one version, current."""
    store = ArtifactStore(root)
    publish(store, "v1.0.0", onnx_model(bias=-1.0))
    store.set_current("v1.0.0")
    return store
