"""Rollout: the versions in service, and who takes the next batch."""

import random
import time
from collections.abc import Sequence
from functools import partial

from serve_api.breaker import CircuitState
from serve_api.deployment import Deployment
from serve_api.metrics import Metrics


class Rollout:
    """The version that serves, a canary that takes a share of the batches, and the one that served before.

    The version is drawn for each batch, whatever is in it: the queue stays one, batches fill as they would
    without a canary, and a request still goes to the canary with the probability of the share.
    """

    def __init__(
        self,
        serving: Deployment,
        metrics: Metrics,
        *,
        canary: Deployment | None = None,
        canary_share: float = 0.0,
    ) -> None:
        self.serving = serving
        self.canary = canary
        self.previous: Deployment | None = None
        self._share = canary_share
        self._metrics = metrics
        self._random = random.Random()  # noqa: S311  (a draw of versions, no secret)
        self._show()

    def draw(self, now_s: float) -> Deployment:
        """The version of the next batch; never a canary whose circuit is open."""
        canary = self.canary
        if canary is None or self._random.random() >= self._share:
            return self.serving
        return self.serving if canary.breaker.state(now_s) is CircuitState.OPEN else canary

    def loaded(self) -> Sequence[tuple[str, Deployment]]:
        """Versions in memory with their roles."""
        roles = (("serving", self.serving), ("canary", self.canary), ("previous", self.previous))
        return [(role, deployment) for role, deployment in roles if deployment is not None]

    def find(self, version: str) -> Deployment | None:
        """The version, if it is in memory."""
        return next((d for _, d in self.loaded() if d.version == version), None)

    def serve(self, deployment: Deployment) -> None:
        """Swap: from the next batch on this one serves, and the one that did is kept for a way back."""
        if deployment is self.serving:
            return
        self.previous, self.serving = self.serving, deployment
        if self.canary is not None and self.canary.version == deployment.version:
            self.canary = None
        self._show()

    def _show(self) -> None:
        self._metrics.model_info.clear()
        self._metrics.circuit_state.clear()
        for role, deployment in self.loaded():
            self._metrics.model_info.labels(deployment.version, role).set(1)
            circuit = self._metrics.circuit_state.labels(deployment.version)
            circuit.set_function(partial(_state_now, deployment))
        self._metrics.keep({deployment.version for _, deployment in self.loaded()})


def _state_now(deployment: Deployment) -> float:
    return deployment.breaker.state(time.monotonic())
