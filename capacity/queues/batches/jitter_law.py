"""Jitter law: wait and response under gamma-distributed batches, by looking back from a batch's start."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import gammainc

from capacity.errors import DomainError
from capacity.queues.batches.jitter_chain import JitterChain
from capacity.queues.batches.jitter_gamma import GammaShape
from capacity.queues.batches.jitter_lines import lines, poisson, significant
from capacity.queues.batches.jitter_mesh import ORDER, Mesh, convolved

Floats = NDArray[np.float64]
CELLS_MAX = 3e7  # of a matrix of densities: 0.25 GB
_DIGITS = 46.0  # the table of the wait ends where e^-46 is left of it,
_SERVICES = 18.0  # or after so many services (times cv, if above 1), when its tail is exponential
_DEVIATIONS = 3.6  # width of a panel, in standard deviations of the narrowest law that ends there
_COUNT_DEVIATIONS = 3.0  # or of the Poisson count of arrivals up to there
_ROWS = 200  # of the convolution's matrix made at once
_COLUMNS = 1024
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterLaw:
    """G_c(w): requests per batch started, in batches of c, that waited longer than w.

    Look from a start at time 0 back to -w. There were q in line, and the service under way, begun u
    earlier with r in line behind it, ended at -w + v; then m full batches followed without a pause, so
    that k = q - mB > 0 of the q are left, min(k, B) of them taken now, and those who came since fill up
    the batch. So, with the gamma law of m full services and v integrated over,

        H_q(v) = sum over (b, r) of P(b, r) times the integral of f_b(v + u) P(r + Poisson(lambda u) = q) du
        a_k(w) = sum over m of (f_m * H_(mB + k))(w)
        G_c(w) = sum over k of k a_k(w) P(min(B, k + Poisson(lambda w)) = c),

    k = B standing for all k >= B. By Horner's rule a_(m) = H_m + f_1 * a_(m+1), the convolution with
    one full service being a matrix on the nodes of a mesh: a coarse one, since a_k is as smooth as the
    services are, while G_c on a fine one follows the counts. Every term is positive. Beyond the mesh G_c
    falls as e^-rate w. A response adds the service of the batch's own size, independent of G_c.

    Attributes:
        chain: numbers left at completions, and the unit of time.
        older: G_c on the nodes of the mesh, `(nodes, B)`.

    Source:
        Looking back from a start: Franx (2001), Operations Research Letters 29(5), 221-229, for M/D/c.

    >>> law = JitterLaw(chain=JitterChain(arrivals=0.5, means=np.array([1.0]), shape=1.0, spare=0.5))
    >>> round(law.wait_tail(2.0), 12) == round(0.5 * math.exp(-1.0), 12)  # M/M/1
    True
    """

    chain: JitterChain
    gamma: GammaShape = field(init=False, repr=False)
    mesh: Mesh = field(init=False, repr=False)
    older: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        gamma = GammaShape(shape=self.chain.shape)
        coarse, fine = wait_meshes(self.chain, gamma)
        at_start = coarse.sampled(_at_start(self.chain, gamma, coarse, fine), fine.nodes)
        object.__setattr__(self, "gamma", gamma)
        object.__setattr__(self, "mesh", fine)
        object.__setattr__(self, "older", _by_size(self.chain, fine.nodes, at_start))

    def wait_tail(self, time: float) -> float:
        """P(W > w), w > 0."""
        at = min(max(time, float(self.mesh.edges[0])), self.mesh.end)
        older = self.mesh.sampled(self.older.sum(axis=1, keepdims=True), np.array([at]))
        beyond = math.exp(-self.chain.rate * max(0.0, time - at))
        return max(0.0, float(older[0, 0])) * beyond / self.chain.size_mean

    def response_tail(self, time: float) -> float:
        """P(T > t), t > 0: the service alone is longer, or what the wait left of it."""
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
    """Panels that resolve all laws of services that end in them; and the counts of arrivals as well."""
    cv, arrivals, size = 1.0 / math.sqrt(chain.shape), chain.arrivals, chain.size_max
    shortest, longest = float(chain.means.min()), float(gamma.edges[-1] * chain.means.max())
    counting = max((size + 8.0 * math.sqrt(size) + 30.0) / arrivals, longest)
    end = max(min(_DIGITS / chain.rate_slowest, _SERVICES * max(1.0, cv)), longest)

    def services(time: float) -> float:
        return _DEVIATIONS * cv * min(max(time / (1.0 + 8.0 * cv), shortest), 1.0)

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
    """kernel @ lines without the ages at which lines so long do not occur."""
    ages = np.flatnonzero(lines.max(axis=1) > 0.0)
    return np.asarray(kernel[:, ages] @ lines[ages])


def _levels(chain: JitterChain, end: float) -> int:
    """How many full batches, and one, can lie in between, or have a line long enough."""
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
    """G_c from a_k: those who came since fill the batch up. `(nodes, B)`"""
    size = chain.size_max
    came = chain.arrivals * nodes
    taken = at_start * np.arange(1, size + 1)
    older = np.zeros_like(taken)
    for more in range(size - 1):
        older[:, more : size - 1] += poisson(more, came)[:, None] * taken[:, : size - 1 - more]
    for k in range(1, size):
        older[:, -1] += taken[:, k - 1] * gammainc(size - k, came)
    older[:, -1] += taken[:, -1]
    return older
