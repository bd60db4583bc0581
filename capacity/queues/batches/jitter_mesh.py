"""Jitter mesh: panels of time with Gauss-Legendre nodes, fine near 0 and as wide as a law allows later."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.queues.batches.jitter_gamma import GammaShape

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ORDER = 20  # nodes of a panel
PANELS_MAX = 1000
_PIECE_ORDER = 16  # nodes of a piece of an integral, which are not interpolated
_LOG_REACH = 37.0  # e^-37 of the time scale, where a function in powers of t^k has reached its limit


def _barycentric(nodes: Floats) -> Floats:
    """Weights of Lagrange's formula; Berrut & Trefethen (2004), SIAM Review 46(3), eq. 3.2."""
    return np.asarray(1.0 / np.array([np.prod(node - nodes[nodes != node]) for node in nodes]))


_NODES, _WEIGHTS = leggauss(ORDER)
_LAGRANGE = _barycentric(_NODES)
_PIECE_NODES, _PIECE_WEIGHTS = leggauss(_PIECE_ORDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Panels in y, where time = scale log(1 + e^y): logarithmic towards 0, linear beyond the scale.

    A function that is analytic in t and t^k, as the laws of gamma sums are, is analytic in y.

    Raises:
        DomainError: more than 1000 panels.

    Attributes:
        end: where the last panel ends.
        scale: below it panels are logarithmic.
        power: smallest power of t near 0, at most 1.
        width: largest width of a panel at a time.
        edges: `(panels + 1,)` times.
        nodes: `(panels * ORDER,)` times.
        weights: of integrals over time, for each node.

    >>> mesh = Mesh(end=2.0, scale=0.5, power=0.5, width=lambda time: 1.0)
    >>> area = float(mesh.weights @ mesh.nodes**-0.5)
    >>> round(area / (2.0 * math.sqrt(float(mesh.edges[-1]))), 7)
    1.0
    >>> round(float(mesh.sampled(np.sqrt(mesh.nodes[:, None]), np.array([0.3]))[0, 0]) ** 2, 9)
    0.3
    """

    end: float
    scale: float
    power: float
    width: Callable[[float], float]
    edges: Floats = field(init=False, repr=False)
    nodes: Floats = field(init=False, repr=False)
    weights: Floats = field(init=False, repr=False)
    _middle: Floats = field(init=False, repr=False)
    _half: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        y = _steps(self)
        half = np.diff(y) / 2.0
        middle = y[:-1] + half
        at = (middle[:, None] + half[:, None] * _NODES).ravel()
        slope = self.scale / (1.0 + np.exp(-at))
        for name, value in (
            ("edges", self.scale * np.logaddexp(0.0, y)),
            ("nodes", self.scale * np.logaddexp(0.0, at)),
            ("weights", (half[:, None] * _WEIGHTS).ravel() * slope),
            ("_middle", middle),
            ("_half", half),
        ):
            object.__setattr__(self, name, value)

    @property
    def panels(self) -> int:
        """Number of panels."""
        return len(self._half)

    def panel_of(self, time: Floats) -> Ints:
        """Index of the panel that a time lies in; the first or last one for times outside."""
        return np.asarray(np.clip(np.searchsorted(self.edges, time) - 1, 0, self.panels - 1))

    def interpolation(self, panel: Ints, time: Floats) -> Floats:
        """Weights of the panel's nodes for the value at a time in it. Shape `time.shape + (ORDER,)`."""
        scaled = time / self.scale
        y = scaled + np.log(-np.expm1(-scaled))
        away = ((y - self._middle[panel]) / self._half[panel])[..., None] - _NODES
        hit = away == 0.0
        away[hit] = 1.0
        weights = _LAGRANGE / away
        weights /= weights.sum(axis=-1, keepdims=True)
        at_node = hit.any(axis=-1)
        weights[at_node] = hit[at_node]
        return np.asarray(weights)

    def sampled(self, values: Floats, time: Floats) -> Floats:
        """Functions given on the nodes, `(nodes, functions)`, at other times. Shape `(times, functions)`."""
        panel = self.panel_of(time)
        table = values.reshape(self.panels, ORDER, -1)
        return np.asarray(np.einsum("tj,tjf->tf", self.interpolation(panel, time), table[panel]))


def _steps(mesh: Mesh) -> Floats:
    """Edges in y: panels of 2 at the scale, wider away from it, up to the width allowed there."""
    scaled = mesh.end / mesh.scale
    last = scaled + math.log(-math.expm1(-scaled))
    steps = [-_LOG_REACH / min(1.0, mesh.power)]
    while steps[-1] < last:
        y = steps[-1]
        time = mesh.scale * float(np.logaddexp(0.0, y))
        slope = mesh.scale * math.exp(-float(np.logaddexp(0.0, -y)))
        smooth = 2.0 + 0.5 * y if y > 0.0 else 2.0 - 0.25 * y
        step = min(smooth, mesh.width(time) / slope)
        if len(steps) > PANELS_MAX:
            raise DomainError(
                f"the exact law needs more than {PANELS_MAX} panels of time: service_cv is too low, or "
                "a mean batch time too far above the last one; simulate instead"
            )
        steps.append(last if last - y < 1.25 * step else y + step)
    return np.array(steps)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Quadrature of g(t - s) f(s) ds, s < t, for several t and f at once, each within one panel of g.

    Attributes:
        row: which t. `(pieces,)`
        panel: of g's mesh; the last one where g is extrapolated. `(pieces,)`
        time: t - s. `(pieces, nodes)`
        weight: f(s) ds. `(pieces, nodes)`
    """

    row: Ints
    panel: Ints
    time: Floats
    weight: Floats


def convolved(mesh: Mesh, gamma: GammaShape, totals: Floats, means: Floats) -> list[Pieces]:
    """Pieces for t in `totals` with gamma densities f of `means`, `(rows,)` both.

    Cut at the edges of both, and at t/2: up to there in log s, where f is singular, then in
    log(t - s), where g is.
    """
    total = totals[:, None]
    services = means[:, None] * gamma.edges
    panels = np.broadcast_to(mesh.edges, (len(totals), len(mesh.edges)))
    first, last = services[:, :1], services[:, -1:]
    early = _cut(services, total - panels, first, np.minimum(last, total / 2.0))
    least, most = np.maximum(mesh.edges[0], total - last), np.minimum(total - first, total / 2.0)
    late = _cut(panels, total - services, least, most)
    found = []
    for (row, x, dx), service_first in ((early, True), (late, False)):
        whole = totals[row][:, None]
        service, time = (x, whole - x) if service_first else (whole - x, x)
        weight = dx * gamma.density(service, means[row][:, None])
        found.append(Pieces(row, mesh.panel_of(time[:, _PIECE_ORDER // 2]), time, weight))
    return found


def _cut(own: Floats, other: Floats, low: Floats, high: Floats) -> tuple[Ints, Floats, Floats]:
    """Rows, nodes and weights of the pieces between all cuts from low to high, in log x."""
    high = np.maximum(low, high)
    cuts = np.sort(np.clip(np.concatenate([own, other, low, high], axis=1), low, high), axis=1)
    row, column = np.nonzero(cuts[:, 1:] > cuts[:, :-1] * (1.0 + 1e-14))
    start = np.log(cuts[row, column])[:, None]
    half = (np.log(cuts[row, column + 1])[:, None] - start) / 2.0
    x = np.exp(start + half * (1.0 + _PIECE_NODES))
    return row, x, x * half * _PIECE_WEIGHTS
