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
from capacity.queues.law import settle
from capacity.queues.numerics.chains import banded_stationary as stationary
from capacity.queues.numerics.chains import pmf
from capacity.queues.numerics.mills import second_remainder
from capacity.queues.numerics.tail import first_true

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


CELLS_MAX = 5e7  # of the banded matrix: 0.4 GB


_DIGITS = 42.0  # e^-42 of all mass may lie beyond the last state


_GAP_DIGITS = 32.0  # or the geometric tail holds to e^-32 of itself from there on


_ARRIVALS_NEGLIGIBLE = 1e-21


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterChain:
    """Stationary law of X' = (X - B)^+ + A_b, b = min(max(X, 1), B), where A_b arrive in a service of b.

    Arrivals during a gamma service are negative binomial. Far up, the law is geometric with ratio e^-decay;
    the last state represents all from there on, so a load near 1 needs no more states than another.
    Time is in means of a full batch's service.

    Attributes:
        arrivals: lambda: mean number that arrive in the mean service of a full batch.
        means: mean service of a batch of 1, 2, ..., B; the last one is 1.
        shape: k = 1 / cv^2.
        spare: 1 - load.
        decay: theta > 0, the geometric tail's: B theta = -k log(1 - (e^theta - 1) lambda / k).
        rate: eta = lambda (e^theta - 1), at which the tail of the wait falls in time.
        law: probabilities of 0, 1, ..., last - 1, and of all from `last` on.

    Source:
        Bailey (1954), JRSS B 16(1), 80-87; Neuts (1967), Annals of Mathematical Statistics 38(3),
        759-770, for batch services; lumping: Kemeny & Snell (1960), Finite Markov Chains, sec. 6.3.
    """

    arrivals: float
    means: Floats
    shape: float
    spare: float
    decay: float = field(init=False)
    rate: float = field(init=False)
    law: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rate = _decay_rate(self.arrivals, self.size_max, self.shape, self.spare)
        settle(self, rate=rate, decay=math.log1p(rate / self.arrivals))
        settle(self, law=_chain_law(self))

    @property
    def size_max(self) -> int:
        """B."""
        return len(self.means)

    @property
    def rate_slowest(self) -> float:
        """The slower one of the full batches' queue rate and the longest service's own rate."""
        return min(self.rate, self.shape / float(self.means.max()))

    def left(self, count: int) -> Floats:
        """Probabilities that 0, 1, ..., count - 1 are left, and that more are. Shape `(count + 1,)`."""
        last = len(self.law) - 1
        if count <= last:
            return np.append(self.law[:count], self.law[count:].sum())
        beyond = np.exp(-self.decay * np.arange(count - last))
        tail = self.law[-1] * math.exp(-self.decay * (count - last))
        return np.concatenate([self.law[:-1], -math.expm1(-self.decay) * self.law[-1] * beyond, [tail]])

    def behind(self, count: int) -> Floats:
        """Probabilities that a batch is full and 0, ..., count - 1, or more, wait behind it at its start."""
        law = self.left(self.size_max + count)[self.size_max :]
        if self.size_max == 1:
            law[0] += self.law[0]
        return law

    @property
    def sizes(self) -> Floats:
        """Probabilities that a batch has size 1, 2, ..., B: an idle server starts one of 1."""
        law = self.left(self.size_max)
        law[1] += law[0]
        return law[1:]

    @property
    def size_mean(self) -> float:
        """Mean batch."""
        return float(np.arange(1, self.size_max + 1) @ self.sizes)

    @property
    def busy(self) -> float:
        """Mean service of a batch."""
        return float(self.means @ self.sizes)

    @property
    def idle(self) -> float:
        """Mean idle time before a batch."""
        return float(self.law[0]) / self.arrivals

    @property
    def wait_total(self) -> float:
        """Mean of all waits per batch: those behind it wait all its service, those that arrive half of it."""
        size, last = self.size_max, len(self.law) - 1
        behind = float(np.arange(last - size) @ self.law[size:-1])
        behind += float(self.law[-1]) * (last - size + 1.0 / math.expm1(self.decay))
        second = (1.0 + 1.0 / self.shape) * float(self.means**2 @ self.sizes)
        return behind + 0.5 * self.arrivals * second

    @property
    def service_total(self) -> float:
        """Mean of all services per batch, each counted once for every request in it."""
        return float(np.arange(1, self.size_max + 1) * self.means @ self.sizes)


def _decay_rate(arrivals: float, size_max: int, shape: float, spare: float) -> float:
    """eta = k (1 - e^-y), where y > 0 solves B log(1 + eta/lambda) = k y, by bisection.

    With L = log(1 + eta/lambda), and eta taken off both sides, that is (1 - rho)/rho eta/k =
    B/k (e^L - 1 - L) + (e^-y - 1 + y): only positive terms, so nothing is lost at a load near 1.
    """
    ratio = shape / arrivals
    spare_share = spare / (arrivals / size_max)

    def beyond(y: float) -> bool:
        share = -math.expm1(-y)
        log_growth = math.log1p(ratio * share)
        if spare > 0.5:  # eta/lambda is large and must not be subtracted
            return size_max / shape * log_growth <= y
        return spare_share * share <= size_max / shape * second_remainder(log_growth) + second_remainder(-y)

    low, high = spare / (1.0 + ratio), size_max / shape * math.log1p(ratio)
    return -shape * math.expm1(-first_true(beyond, low, high))


def _chain_law(chain: JitterChain) -> Floats:
    size, last = chain.size_max, _last_state(chain)
    _require_room(chain, last, 1)
    steps = [_arrivals(chain.shape, chain.arrivals * mean, last + size + 1) for mean in chain.means]
    up = min(last, max(len(step) for step in steps))
    _require_room(chain, last, up)

    def row(state: int) -> Floats:
        return steps[min(max(state, 1), size) - 1] if state < last else _lumped(steps[-1], chain.decay, size)

    return stationary(row, last, size, up)


def _require_room(chain: JitterChain, last: int, up: int) -> None:
    cells = last * (chain.size_max + up)
    if cells > CELLS_MAX:
        raise DomainError(
            f"the exact chain needs {cells} cells, more than {CELLS_MAX:g}, at a service_cv of "
            f"{1.0 / math.sqrt(chain.shape):.4g}, batches up to {chain.size_max} and a mean batch time of "
            f"{chain.means.max():.3g} times the last one; lower one of them, or simulate"
        )


def _last_state(chain: JitterChain) -> int:
    """The state from which on the law is negligible, or geometric because its next singularities no longer matter.

    Those are the arrivals' own, 1 + k/(lambda max s), and, near a load of 1, roots about
    sqrt(2 pi / (B (1 + B cv^2))) further from 0 than e^decay.
    """
    size, longest = chain.size_max, float(chain.means.max())
    slowest = math.log1p(chain.rate_slowest / chain.arrivals)
    states = _DIGITS / slowest
    gap = math.log1p(chain.shape / (longest * chain.arrivals)) - chain.decay
    if gap > 0.0:
        roots = math.sqrt(size * (1.0 + size / chain.shape) / (2.0 * math.pi))
        states = min(states, _GAP_DIGITS * max(1.0 / gap, roots))
    return size + 10 + math.ceil(states)


def _arrivals(shape: float, mean: float, count: int) -> Floats:
    """Negative binomial probabilities of 0, 1, ..., below `count`, as far as they are not negligible."""
    i = np.arange(count - 1)
    ratios = np.log((shape + i) / (i + 1.0)) + math.log(mean / (shape + mean))
    logs = np.concatenate([[0.0], np.cumsum(ratios)]) - shape * math.log1p(mean / shape)
    law = np.exp(logs)
    beyond = np.cumsum(law[::-1])[::-1]
    return np.asarray(law[: max(1, int(np.count_nonzero(beyond > _ARRIVALS_NEGLIGIBLE)))])


def _lumped(step: Floats, decay: float, size: int) -> Floats:
    """Transitions from all states from the last one on, geometric among themselves: B down to none."""
    row = np.zeros(size + 1)
    for above in range(size):
        reached = step[: size - above]
        row[above : above + len(reached)] += -math.expm1(-decay) * math.exp(-decay * above) * reached
    row[size] = max(0.0, 1.0 - row.sum())
    return row


def lines(chain: JitterChain, ages: Floats, levels: int) -> tuple[Floats, Floats]:
    """P(line = mB + k) at ages of a full batch, with its start, and of a smaller one, given it.

    Args:
        ages: ascending.
        levels: m = 0, ..., levels - 1.

    Returns:
        Shape `(ages, levels * B)` each, k = 1..B within a level, where B stands for all k >= B.
    """
    size, count = chain.size_max, levels * chain.size_max + 1
    line = chain.behind(count)
    behind, alone = (np.empty((len(ages), levels * size)) for _ in range(2))
    for at, (age, before) in enumerate(zip(ages, np.append(0.0, ages), strict=False)):
        line = _grown(line, _counts(chain.arrivals * (age - before), count))
        behind[at] = _folded(line, size)
        alone[at] = _folded(_padded(_counts(chain.arrivals * age, count), count), size)
    return significant(behind), significant(alone)


def significant(values: Floats) -> Floats:
    """The values without denormals, which are slow, and without terms too small to matter in a sum."""
    values[values < 1e-40 * values.max(initial=0.0)] = 0.0
    return values


def _counts(mean: float, count: int) -> Floats:
    """P(0), P(1), ..., at most `count` of them and as far as they are not negligible, and the rest."""
    reach = min(count, math.ceil(mean + 10.0 * math.sqrt(mean) + 25.0))
    return np.append(pmf(np.arange(reach), mean), gammainc(reach, mean))


def _grown(line: Floats, more: Floats) -> Floats:
    """A law of 0, 1, ... and a rest, after arrivals with a law of the same form, perhaps shorter."""
    count, reach = len(line) - 1, len(more) - 1
    exact = np.convolve(line[:-1], more[:-1])[:count]
    at_least = np.cumsum(more[::-1])[::-1][1:]
    return np.append(exact, line[-1] + line[-2 : -2 - reach : -1] @ at_least)


def _padded(law: Floats, count: int) -> Floats:
    return np.concatenate([law[:-1], np.zeros(count - len(law) + 1), law[-1:]])


def _folded(line: Floats, size: int) -> Floats:
    """A law of 0, 1, ..., levels x B and more as one of k = 1..B at each level, B for all from B on."""
    levels = line[1:-1].copy()
    levels[size - 1 :: size] = np.cumsum(line[::-1])[::-1][size:-1:size]
    return levels


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
