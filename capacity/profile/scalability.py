"""Scalability: the universal scalability law: how throughput grows, saturates and falls with size."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capacity.confidence import student_t
from capacity.errors import DomainError, InputError
from capacity.files import csv_rows, located, printable, read_text
from capacity.performance import Interval, Kind, Performance
from capacity.units import format_percent, is_number, require_not_negative, require_positive

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalScalability:
    """X(N) = X(1) N / (1 + sigma (N - 1) + kappa N (N - 1)), for N users, threads or replicas.

    sigma is the share of the work that is serialized (contention), kappa the cost of keeping each pair consistent
    (coherency). With kappa = 0 it is Amdahl's law, with both 0 linear. It is a law of throughput alone: no response
    time follows from it.

    Raises:
        DomainError: throughput_one_rps not positive, sigma not in [0, 1], kappa negative, or one not
            finite.

    Source:
        Gunther (2007), Guerrilla Capacity Planning, ch. 4-6; derivation as a queue in which all
        requests are synchronous: Gunther (2008), arXiv 0808.1431.

    >>> law = UniversalScalability(throughput_one_rps=90.0, sigma=0.02, kappa=0.0001)
    >>> round(law.throughput_rps(36), 1), law.peak
    (1774.4, 99)
    """

    throughput_one_rps: float
    sigma: float
    kappa: float

    def __post_init__(self) -> None:
        require_positive("throughput_one_rps", self.throughput_one_rps)
        require_not_negative("sigma", self.sigma)
        require_not_negative("kappa", self.kappa)
        if self.sigma > 1.0:
            raise DomainError(f"sigma must be <= 1, got {self.sigma!r}; it is a share of the work")

    def efficiency(self, size: float) -> float:
        """X(N) / (N X(1)), in (0, 1]. [dimensionless]

        Raises:
            DomainError: size is not a finite number from 1.
        """
        return 1.0 / (size * self._share(size))

    def throughput_rps(self, size: float) -> float:
        """Throughput at N users, threads or replicas.

        Raises:
            DomainError: size is not a finite number from 1.

        >>> UniversalScalability(throughput_one_rps=10.0, sigma=1.0, kappa=0.0).throughput_rps(7)
        10.0
        """
        return self.throughput_one_rps / self._share(size)

    def _share(self, size: float) -> float:
        """X(1) / X(N), divided by N so that nothing overflows."""
        require_positive("size", size)
        if size < 1.0:
            raise DomainError(f"size must be >= 1, got {size!r}; it counts users, threads or replicas")
        return (1.0 + self.sigma * (size - 1.0)) / size + self.kappa * (size - 1.0)

    @property
    def peak_size(self) -> float:
        """Real N at which throughput is largest, at least 1; infinite if it never falls.

        sqrt((1 - sigma) / kappa): Gunther (2007), ch. 6.
        """
        if self.kappa == 0.0:
            return 1.0 if self.sigma == 1.0 else math.inf
        # two roots: a subnormal kappa would make the quotient infinite
        return max(1.0, math.sqrt(1.0 - self.sigma) / math.sqrt(self.kappa))

    @property
    def peak(self) -> int | None:
        """Whole N with the largest throughput, the smaller of two equal; None if it never falls.

        X(N + 1) > X(N) while N (N + 1) < (1 - sigma) / kappa: in whole numbers, since near a flat peak the
        throughputs differ by less than their rounding.
        """
        if math.isinf(self.peak_size):
            return None
        if self.kappa == 0.0:
            return 1
        needed = math.ceil((1 - Fraction(self.sigma)) / Fraction(self.kappa))
        root = max(1, math.isqrt(needed))
        return root if root * (root + 1) >= needed else root + 1

    @property
    def asymptote_rps(self) -> float:
        """Throughput as N grows without bound: 0 with coherency, X(1)/sigma without, infinite if linear."""
        if self.kappa > 0.0:
            return 0.0
        return self.throughput_one_rps / self.sigma if self.sigma > 0.0 else math.inf

    @property
    def throughput_max_rps(self) -> float:
        """Upper bound over all whole N: the peak's throughput, or the asymptote if there is no peak."""
        return self.asymptote_rps if self.peak is None else self.throughput_rps(self.peak)

    @property
    def knee(self) -> float:
        """N at which linear growth would reach the largest throughput, as N* of a closed system."""
        return self.throughput_max_rps / self.throughput_one_rps

    def performance(self, replicas: int) -> Performance:
        """Throughput as a `Performance`; the law has no other figure.

        >>> UniversalScalability(throughput_one_rps=10.0, sigma=0.5, kappa=0.0).performance(3).throughput_rps
        15.0
        """
        return Performance(kind=Kind.EXACT, throughput_rps=self.throughput_rps(replicas))


Points = Mapping[float, float] | Iterable[tuple[float, float]]
_PARAMETERS = ("throughput_one_rps", "sigma", "kappa")
_SIZE_MAX = 1e9
_SIZES_ENOUGH = 6
_EXTRAPOLATION_MAX = 2.0
_MISFIT_MAX = 0.1
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalabilityFit:
    """A fitted law, the uncertainty of its parameters, and doubts about it.

    Attributes:
        size_max: largest measured N; throughput is given up to twice that.
        standard_errors: by parameter; infinite if as many parameters as points were fitted.
        intervals: by parameter, 95 %, by Student's t, cut to what the law allows.
        relative_error_max: largest relative distance of a measured throughput from the law's.
        doubts: what makes the fit unsafe, each with its fix; empty if nothing was found.
    """

    law: UniversalScalability
    size_max: float
    standard_errors: Mapping[str, float]
    intervals: Mapping[str, Interval]
    relative_error_max: float
    doubts: tuple[str, ...]

    def throughput_rps(self, size: float) -> float:
        """Throughput at N, up to twice the largest measured N.

        Raises:
            DomainError: size is not a number from 1, or is larger.
        """
        if size > _EXTRAPOLATION_MAX * self.size_max:
            raise DomainError(
                f"size must be <= {_EXTRAPOLATION_MAX * self.size_max:g}, twice the largest measured, got "
                f"{size!r}; measure up to at least {size / _EXTRAPOLATION_MAX:g} first"
            )
        return self.law.throughput_rps(size)

    def performance(self, replicas: int) -> Performance:
        """Throughput as a `Performance`.

        Raises:
            DomainError: as `throughput_rps` does.
        """
        return Performance(
            kind=Kind.APPROXIMATION,
            throughput_rps=self.throughput_rps(replicas),
            relative_error_max={"throughput_rps": self.relative_error_max},
        )


def fit_scalability(points: Points) -> ScalabilityFit:
    """The scalability law that fits measured throughputs best: least squares on their logarithms.

    All points count by their relative error. The start comes from non-negative linear least squares, as N/X is linear
    in 1/X(1), sigma/X(1) and kappa/X(1); then bounded least squares in sigma and kappa, X(1) being the geometric mean
    of what each point says. (The usual regression of N X(1)/X(N) - 1 on N - 1 trusts the one measurement at N = 1
    without error.)

    Args:
        points: throughput by size, or pairs of size and throughput, possibly with repetitions.

    Raises:
        DomainError: fewer than three different sizes, a size below 1, or a number that is not
            positive and finite.

    Source:
        Gunther (2007), Guerrilla Capacity Planning, ch. 5; separable least squares: Golub & Pereyra
        (1973), SIAM Journal on Numerical Analysis 10(2); standard errors: Seber & Wild (1989),
        Nonlinear Regression, sec. 2.1.

    Assumes:
        Errors are independent and proportional to throughput.

    >>> law = UniversalScalability(throughput_one_rps=90.0, sigma=0.02, kappa=0.0001)
    >>> found = fit_scalability({n: law.throughput_rps(n) for n in (1, 8, 16, 32, 64, 128)})
    >>> round(found.law.sigma, 9), round(found.law.kappa, 9), found.doubts
    (0.02, 0.0001, ())
    """
    sizes, throughputs = _checked(points)
    sigma, kappa = _least_squares(sizes, throughputs)
    unit = UniversalScalability(throughput_one_rps=1.0, sigma=sigma, kappa=kappa)
    most_rps = float(throughputs.max())
    ones = np.log(throughputs / most_rps) - np.log([unit.throughput_rps(size) for size in sizes])
    law = replace(unit, throughput_one_rps=most_rps * math.exp(ones.mean()))
    residuals = ones - ones.mean()
    errors = _standard_errors(sizes, residuals, law)
    misfit = float(np.abs(np.expm1(residuals)).max())
    intervals = _intervals(law, errors, len(sizes) - len(_PARAMETERS))
    return ScalabilityFit(
        law=law,
        size_max=float(sizes.max()),
        standard_errors=errors,
        intervals=intervals,
        relative_error_max=misfit,
        doubts=tuple(_doubts(law, sizes, throughputs, misfit, intervals["kappa"].low)),
    )


def _checked(points: Points) -> tuple[Floats, Floats]:
    pairs = list(points.items() if isinstance(points, Mapping) else points)
    for size, throughput_rps in pairs:
        require_positive("size", size)
        if size < 1.0:
            raise DomainError(f"size must be >= 1, got {size!r}; it counts users, threads or replicas")
        if size > _SIZE_MAX:
            raise DomainError(f"size must be <= {_SIZE_MAX:g}, got {size!r}")
        require_positive(f"throughput at size {size:g}", throughput_rps)
    different = len({size for size, _ in pairs})
    if different < len(_PARAMETERS):
        raise DomainError(
            f"a fit of three parameters needs at least 3 different sizes, got {different}; "
            f"measure {_SIZES_ENOUGH} or more, from 1 to beyond the knee"
        )
    # Sorted, so that sums do not depend on the order in the file.
    sizes, throughputs = (np.array(column, dtype=float) for column in zip(*sorted(pairs), strict=True))
    return sizes, throughputs


def _columns(sizes: Floats) -> tuple[Floats, Floats, float, float]:
    """N - 1 and N (N - 1) over their largest values, so that all parameters are of one order; and these values."""
    most = float(sizes.max())
    linear, square = most - 1.0, most * (most - 1.0)
    return (sizes - 1.0) / linear, sizes * (sizes - 1.0) / square, linear, square


def _least_squares(sizes: Floats, throughputs: Floats) -> tuple[float, float]:
    """sigma and kappa for which the logarithms of X(1), as given by each point, agree best."""
    from scipy.optimize import least_squares, nnls

    linear, square, linear_max, square_max = _columns(sizes)
    rates = throughputs / sizes
    relative = (rates / rates.max())[:, None] * np.column_stack((np.ones_like(sizes), linear, square))
    inverse, *slopes = nnls(relative, np.ones_like(sizes))[0]
    start = np.array(slopes) / inverse if inverse > 0.0 else np.array([0.5, 0.5])

    def departures(parameters: Floats) -> Floats:
        ones = np.log(rates) + np.log1p(parameters[0] * linear + parameters[1] * square)
        return np.asarray(ones - ones.mean())

    def slope(parameters: Floats) -> Floats:
        share = 1.0 + parameters[0] * linear + parameters[1] * square
        columns = np.column_stack((linear, square)) / share[:, None]
        return np.asarray(columns - columns.mean(axis=0))

    found = least_squares(
        departures,
        np.minimum(start, (linear_max, np.inf)),
        jac=slope,
        bounds=((0.0, 0.0), (linear_max, np.inf)),
        method="dogbox",
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    return float(found.x[0]) / linear_max, float(found.x[1]) / square_max


def _standard_errors(sizes: Floats, residuals: Floats, law: UniversalScalability) -> dict[str, float]:
    """Standard errors from the singular values of the slopes at the solution: no variance can come out negative."""
    freedom = len(sizes) - len(_PARAMETERS)
    if freedom == 0:
        return dict.fromkeys(_PARAMETERS, math.inf)
    linear, square, linear_max, square_max = _columns(sizes)
    share = 1.0 + law.sigma * linear_max * linear + law.kappa * square_max * square
    slopes = np.column_stack((np.ones_like(sizes), linear / share, square / share))
    _, values, axes = np.linalg.svd(slopes, full_matrices=False)
    spread = np.linalg.norm(axes / np.maximum(values, 1e-150)[:, None], axis=0)
    errors = spread * math.sqrt(residuals @ residuals / freedom)
    scales = (law.throughput_one_rps, 1.0 / linear_max, 1.0 / square_max)
    return {name: float(e * s) for name, e, s in zip(_PARAMETERS, errors, scales, strict=True)}


def _intervals(law: UniversalScalability, errors: Mapping[str, float], freedom: int) -> dict[str, Interval]:
    t = student_t(_CONFIDENCE, freedom) if freedom else 1.0
    intervals = {}
    for name, most in zip(_PARAMETERS, (math.inf, 1.0, math.inf), strict=True):
        value, reach = getattr(law, name), t * errors[name]
        intervals[name] = Interval(value=value, low=max(0.0, value - reach), high=min(most, value + reach))
    return intervals


def _doubts(
    law: UniversalScalability, sizes: Floats, throughputs: Floats, misfit: float, kappa_low: float
) -> Iterable[str]:
    different, most = len(np.unique(sizes)), float(sizes.max())
    if different < _SIZES_ENOUGH:
        yield f"only {different} different sizes; measure {_SIZES_ENOUGH} or more"
    if sizes.min() > 1.0:
        yield f"size 1 was not measured, so that X(1) is extrapolated from {sizes.min():g}; measure it"
    if most < law.knee:
        knee = (
            f"the knee at {law.knee:.4g}"
            if math.isfinite(law.knee)
            else "a knee, which the measurements do not show"
        )
        yield (
            f"the largest size {most:g} is not beyond {knee}, so that sigma and kappa are barely "
            "determined; measure larger sizes"
        )
    elif kappa_low == 0.0:
        yield "kappa cannot be told from 0, so there may be no peak; measure larger sizes"
    rates = throughputs / sizes
    if rates[sizes > 1.0].max() > rates[sizes == sizes.min()].max():
        yield "some sizes scale superlinearly, which the law cannot describe; check the smallest size"
    if misfit > _MISFIT_MAX:
        yield f"a measured throughput is {format_percent(misfit)} off the law; repeat it, or do not use the law"


_COLUMNS = ("n", "throughput_rps")


def read_points(path: Path) -> dict[float, float]:
    """Throughput by size from a CSV with the columns `n` and `throughput_rps`, in either order.

    Raises:
        InputError: names file, line and fix if the file is no such table, a number is not positive and finite, or a
            size is below 1 or there twice.
    """
    shown = printable(path.name)
    rows = csv_rows(read_text(path), shown, "keep one for each size")
    line, header = next(rows, (1, []))
    columns = _names_of(header, f"{shown} line {line}")
    points: dict[float, float] = {}
    lines: dict[float, int] = {}
    for line, row in rows:
        where = f"{shown} line {line}"
        cells = _cells(row, columns, where)
        size = cells["n"]
        if size in points:
            raise InputError(
                f"{where}: size {size:g} stands on line {lines[size]} already; keep one for each size"
            )
        points[size], lines[size] = cells["throughput_rps"], line
    return points


def _names_of(header: list[str], where: str) -> list[str]:
    columns = [name.strip() for name in header]
    for name in columns:
        if name not in _COLUMNS:
            mend = "name it throughput_rps" if name == "throughput" else "use n,throughput_rps"
            raise InputError(f"{where}: unknown column {printable(name)!r}; {mend}")
    if len(set(columns)) < len(columns):
        raise InputError(f"{where}: a column is given twice; keep one of each")
    for name in _COLUMNS:
        if name not in columns:
            raise InputError(f"{where}: no column {name}; the first line must be n,throughput_rps")
    return columns


def _cells(row: list[str], columns: list[str], where: str) -> dict[str, float]:
    if len(row) != len(columns):
        raise InputError(f"{where}: {len(row)} cells for {len(columns)} columns; complete or drop the row")
    cells = {name: _number(text.strip(), name, where) for name, text in zip(columns, row, strict=True)}
    if cells["n"] < 1.0:
        raise InputError(f"{where}: n must be >= 1, got {cells['n']:g}; it counts users, threads or replicas")
    return cells


def _number(text: str, name: str, where: str) -> float:
    if not is_number(text):
        raise InputError(f"{where}: {name} must be a number, got {printable(text)!r}; fix or drop the row")
    value = float(text)
    located(where, partial(require_positive, name, value))
    return value
