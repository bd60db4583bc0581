"""Gamma law of batch times: its shape, the panels it is integrated over, and their mesh."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv

from capacity.errors import DomainError
from capacity.queues.batch.gamma_chain import JitterChain, lines, significant
from capacity.queues.law import settle
from capacity.queues.numerics.chains import pmf

Floats = NDArray[np.float64]
_MASS_BELOW = 1e-18  # mass of the law before the first edge
_MASS_BEYOND = 1e-20  # mass after the last edge
_RATIO_MAX = 20.0  # largest ratio of edges near 0, where the density is a power of time
_DEVIATIONS = 4.0  # standard deviations between edges elsewhere
_STIRLING_FROM = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaShape:
    """Gamma laws of any mean with shape k = 1 / cv^2.

    Attributes:
        edges: ascending times, in means, between which Gauss quadrature in log time resolves the
            density; all but 1e-18 of the law lies between the first and the last.
    """

    shape: float
    edges: Floats = field(init=False, repr=False, compare=False)
    _log_peak: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        peak = 0.5 * math.log(self.shape / (2.0 * math.pi)) - stirling_rest(self.shape)
        settle(self, edges=_edges(self.shape), _log_peak=peak)

    def density(self, time: Floats, mean: Floats | float) -> Floats:
        """Density of a law of this mean, for times > 0; around it, where e^-kx (kx)^k does not overflow."""
        x = time / mean
        log_x = np.log(x)
        return np.asarray(np.exp(self.shape * (log_x - (x - 1.0)) - log_x + self._log_peak) / mean)

    def tail(self, time: float, mean: Floats) -> Floats:
        """P(S > t) for laws of each mean."""
        return np.asarray(gammaincc(self.shape, self.shape * time / mean))


def stirling_rest(k: float) -> float:
    """log Gamma(k) - (k - 1/2) log k + k - log(2 pi)/2; at large k by Abramowitz & Stegun (1964), 6.1.41."""
    if k < _STIRLING_FROM:
        return math.lgamma(k) - (k - 0.5) * math.log(k) + k - 0.5 * math.log(2.0 * math.pi)
    square = k * k
    return (1.0 - (1.0 - (2.0 / 7.0 - 3.0 / (14.0 * square)) / square) / (30.0 * square)) / (12.0 * k)


def _edges(shape: float) -> Floats:
    """Edges from quantile to quantile; the root of kx has a standard deviation of about 1/2 wherever it is."""
    last = float(gammainccinv(shape, _MASS_BEYOND)) / shape
    edges = [float(gammaincinv(shape, _MASS_BELOW)) / shape]
    while edges[-1] < last:
        by_root = (math.sqrt(shape * edges[-1]) + 0.5 * _DEVIATIONS) ** 2 / shape
        edges.append(min(edges[-1] * _RATIO_MAX, by_root))
    return np.append(edges[:-1], last)


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

    Attributes:
        power: smallest power of t near 0, at most 1.
        width: largest width of a panel at a time.
        edges: `(panels + 1,)` times.
        nodes: `(panels * ORDER,)` times.
        weights: of integrals over time, for each node.
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
        settle(
            self,
            edges=self.scale * np.logaddexp(0.0, y),
            nodes=self.scale * np.logaddexp(0.0, at),
            weights=(half[:, None] * _WEIGHTS).ravel() * slope,
            _middle=middle,
            _half=half,
        )

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

    They are cut at the edges of both, and at t/2: up to there in log s, where f is singular, then in log(t - s),
    where g is.
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


CELLS_MAX = 3e7  # of a matrix of densities: 0.25 GB
_DIGITS = 46.0  # the table of the wait ends where e^-46 is left of it,
_SERVICES = 18.0  # or after this many services (times cv, if above 1), when its tail is exponential
_DEVIATIONS_OF_LAW = 3.6  # width of a panel, in standard deviations of the narrowest law that ends there
_COUNT_DEVIATIONS = 3.0  # or of the Poisson count of arrivals up to there
_ROWS = 200  # of the convolution's matrix made at once
_COLUMNS = 1024
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterLaw:
    """G_c(w): requests per batch started, in batches of c, that waited longer than w.

    Look from a start at time 0 back to -w. There were q in line, and the service in progress, begun u earlier with r
    in line behind it, ended at -w + v; then m full batches followed without a pause, so that k = q - mB > 0 of the q
    are left, min(k, B) of them taken now, and those that came since fill the batch. So, with the gamma law of m full
    services and v integrated over,

        H_q(v) = sum over (b, r) of P(b, r) times the integral of f_b(v + u) P(r + Poisson(lambda u) = q) du
        a_k(w) = sum over m of (f_m * H_(mB + k))(w)
        G_c(w) = sum over k of k a_k(w) P(min(B, k + Poisson(lambda w)) = c),

    k = B representing all k >= B. By Horner's rule a_(m) = H_m + f_1 * a_(m+1), the convolution being a
    matrix on a coarse mesh, since a_k is as smooth as the services are; G_c on a fine one follows the
    counts. Beyond the mesh it falls as e^-rate w.

    Attributes:
        older: G_c on the nodes of the mesh, `(nodes, B)`.

    Source:
        Looking back from a start: Franx (2001), Operations Research Letters 29(5), 221-229, for M/D/c.
    """

    chain: JitterChain
    gamma: GammaShape = field(init=False, repr=False)
    mesh: Mesh = field(init=False, repr=False)
    older: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        gamma = GammaShape(shape=self.chain.shape)
        coarse, fine = wait_meshes(self.chain, gamma)
        at_start = coarse.sampled(_at_start(self.chain, gamma, coarse, fine), fine.nodes)
        settle(self, gamma=gamma, mesh=fine, older=_by_size(self.chain, fine.nodes, at_start))

    def wait_tail(self, time: float) -> float:
        """P(W > w), w > 0."""
        at = min(max(time, float(self.mesh.edges[0])), self.mesh.end)
        older = self.mesh.sampled(self.older.sum(axis=1, keepdims=True), np.array([at]))
        beyond = math.exp(-self.chain.rate * max(0.0, time - at))
        return max(0.0, float(older[0, 0])) * beyond / self.chain.size_mean

    def response_tail(self, time: float) -> float:
        """P(T > t), t > 0: the service alone is longer, or longer than what the wait left of t."""
        means = self.chain.means
        sizes = np.arange(1, len(means) + 1)
        requests = float(sizes * self.chain.sizes @ self.gamma.tail(time, means))
        table, end = self.older.reshape(-1, ORDER, len(means)), self.mesh.end
        for part in convolved(self.mesh, self.gamma, np.full(len(means), time), means):
            inside = np.minimum(part.time, end)
            weights = self.mesh.interpolation(part.panel[:, None], inside)
            values = np.einsum("pnj,pj->pn", weights, table[part.panel, :, part.row])
            requests += float(np.sum(values * part.weight * np.exp(self.chain.rate * (inside - part.time))))
        return float(requests / self.chain.size_mean)


def wait_meshes(chain: JitterChain, gamma: GammaShape) -> tuple[Mesh, Mesh]:
    """Panels that resolve all laws of services that end in them, and the counts of arrivals."""
    cv, arrivals, size = 1.0 / math.sqrt(chain.shape), chain.arrivals, chain.size_max
    shortest, longest = float(chain.means.min()), float(gamma.edges[-1] * chain.means.max())
    counting = max((size + 8.0 * math.sqrt(size) + 30.0) / arrivals, longest)
    end = max(min(_DIGITS / chain.rate_slowest, _SERVICES * max(1.0, cv)), longest)

    def services(time: float) -> float:
        return _DEVIATIONS_OF_LAW * cv * min(max(time / (1.0 + 8.0 * cv), shortest), 1.0)

    def counts(time: float) -> float:
        width = _COUNT_DEVIATIONS * max(1.0 / arrivals, math.sqrt(time / arrivals))
        return min(services(time), width) if time < counting else services(time)

    scale, power = shortest * min(1.0, cv), min(1.0, chain.shape)
    coarse = Mesh(end=end, scale=scale, power=power, width=services)
    fine = Mesh(end=end, scale=scale, power=power, width=counts)
    cells = _near(coarse, longest) * _near(fine, longest)
    if cells > CELLS_MAX:
        raise DomainError(
            f"the exact law needs {cells} cells, more than {CELLS_MAX:g}, at a service_cv of {cv:.4g} and "
            f"mean batch times of {shortest:.3g} to {chain.means.max():.3g} times the last; simulate instead"
        )
    return coarse, fine


def _near(mesh: Mesh, longest: float) -> int:
    """Number of nodes that lie within the longest service."""
    return int(np.searchsorted(mesh.nodes, longest))


def _at_start(chain: JitterChain, gamma: GammaShape, coarse: Mesh, fine: Mesh) -> Floats:
    """a_k(w) on the coarse mesh, `(nodes, B)`: Horner's rule over the full batches between."""
    size, levels = chain.size_max, _levels(chain, coarse.end)
    longest = float(gamma.edges[-1] * chain.means.max())
    near, ages = _near(coarse, longest), _near(fine, longest)
    kernels = _service_kernels(chain, gamma, coarse.nodes[:near], fine.nodes[:ages])
    full, small = (significant(kernel * fine.weights[:ages]) for kernel in kernels)
    behind, alone = lines(chain, fine.nodes[:ages], levels)
    service = _convolution(coarse, gamma)
    total = np.zeros((len(coarse.nodes), size))
    step = max(1, _COLUMNS // size)
    for high in range(levels, 0, -step):
        low = max(0, high - step)
        columns = slice(low * size, high * size)
        under_way = _product(full, behind[:, columns]) + _product(small, alone[:, columns])
        for m in range(high - low - 1, -1, -1):
            total = service @ total
            total[:near] += under_way[:, m * size : (m + 1) * size]
    return total


def _product(kernel: Floats, lines: Floats) -> Floats:
    """The product kernel @ lines, without the ages at which lines this long do not occur."""
    ages = np.flatnonzero(lines.max(axis=1) > 0.0)
    return np.asarray(kernel[:, ages] @ lines[ages])


def _levels(chain: JitterChain, end: float) -> int:
    """One more than the number of full batches that can lie in between, or have a line long enough."""
    slowest = chain.size_max * math.log1p(chain.rate_slowest / chain.arrivals)
    levels = 1
    while levels * slowest < _DIGITS and gammainc(levels * chain.shape, chain.shape * end) > _NEGLIGIBLE:
        levels += 1
    return levels


def _service_kernels(
    chain: JitterChain, gamma: GammaShape, left: Floats, ages: Floats
) -> tuple[Floats, Floats]:
    """f_B(v + u), and P(b) f_b(v + u) summed over b < B, at time left v and age u. `(left, ages)` each."""
    whole = left[:, None] + ages
    small = np.zeros_like(whole)
    for mean, probability in zip(chain.means[:-1], chain.sizes[:-1], strict=True):
        rows, columns = (int(np.searchsorted(x, mean * gamma.edges[-1])) for x in (left, ages))
        small[:rows, :columns] += probability * gamma.density(whole[:rows, :columns], float(mean))
    return gamma.density(whole, 1.0), small


def _convolution(mesh: Mesh, gamma: GammaShape) -> csr_array:
    """The matrix that convolves a function on the mesh with a full batch's service."""
    blocks = []
    for first in range(0, len(mesh.nodes), _ROWS):
        totals = mesh.nodes[first : first + _ROWS]
        block = np.zeros((len(totals), mesh.panels, ORDER))
        for part in convolved(mesh, gamma, totals, np.ones(len(totals))):
            weights = mesh.interpolation(part.panel[:, None], part.time)
            np.add.at(block, (part.row, part.panel), np.einsum("pn,pnj->pj", part.weight, weights))
        blocks.append(csr_array(block.reshape(len(totals), -1)))
    return csr_array(vstack(blocks))


def _by_size(chain: JitterChain, nodes: Floats, at_start: Floats) -> Floats:
    """G_c from a_k: those that came since fill the batch. `(nodes, B)`"""
    size = chain.size_max
    came = chain.arrivals * nodes
    taken = at_start * np.arange(1, size + 1)
    older = np.zeros_like(taken)
    for more in range(size - 1):
        older[:, more : size - 1] += pmf(more, came)[:, None] * taken[:, : size - 1 - more]
    for k in range(1, size):
        older[:, -1] += taken[:, k - 1] * gammainc(size - k, came)
    older[:, -1] += taken[:, -1]
    return older
