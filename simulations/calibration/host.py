"""Host: what an engine takes for each step beyond what its steps take alone, from requests that it served.

Steps that were measured by their kernels, or by the engine itself, lack what the host does between two of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from capacity.errors import InputError
from capacity.profile.llm import LlmProfile
from capacity.profile.llm_loads import Figure, SeenLoad, figures_of
from capacity.units import format_duration
from simulations.calibration.fit import Fit, fit, root
from simulations.calibration.loads import Served, served
from simulations.calibration.task import NOISE
from simulations.draws.records import Floats
from simulations.draws.tokens import EngineRules, require_measured

# The figure that calibrates: hundreds of steps of each request are in it, and no waiting.
_BY = "tpot_mean"
_SHOWN = tuple(f"{measure}_{which}" for which in ("mean", "p99") for measure in ("ttft", "tpot", "e2e"))
_STARTS, _MOVED = (
    (0.01, 0.1),
    0.1,
)  # shares of the time per token, and the logarithm over which an effect is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A profile with the time of its host, and the figures of requests that did not calibrate it.

    Attributes:
        figures: of all requests where all calibrated.
    """

    profile: LlmProfile
    figures: tuple[Figure, ...]


def host_of(
    base: LlmProfile, loads: Sequence[SeenLoad], settings: tuple[int, int], part: slice = slice(None)
) -> Hosted:
    """The profile with one time added to each step, so that its mean times per output token are as measured.

    Args:
        settings: most sequences and tokens of a step that the engine was started with.
        part: requests of each load that calibrate; the others are predicted.

    Raises:
        InputError: loads without single requests, or without a request of several tokens in the part.
        DomainError: a step is larger than any that the profile covers.
    """
    rules = EngineRules.of(base, *settings)
    parts = [_chosen(load, part) for load in loads]
    measured = [_figures(load, chosen)[_BY] for load, chosen in zip(loads, parts, strict=True)]

    def seen(step_s: float) -> list[Served]:
        table = base.table.plus(step_s)
        found = [served(table, rules, load, base.overhead.request_s) for load in loads]
        for one in found:
            require_measured(one.largest, table, base.name)
        return found

    def predict(values: Floats) -> Floats:
        served_all = zip(seen(float(values[0])), parts, strict=True)
        return np.array([_of(one, chosen)[_BY] for one, chosen in served_all])

    starts = [[share * min(measured)] for share in _STARTS]
    found = fit(starts, predict, measured, NOISE["tpot"] ** 2 * np.eye(len(measured)))
    added_s = float(found.values[0])
    error = float(root(found, lambda by: predict(found.values * np.exp(by)), np.array([_MOVED]))[0, 0])
    others = [_rest(chosen) for chosen in parts]
    figures = [
        Figure(
            load=load.name, name=name, measured_s=_figures(load, rest)[name], predicted_s=_of(one, rest)[name]
        )
        for load, one, rest in zip(loads, seen(added_s), others, strict=True)
        for name in _SHOWN
        if name in _figures(load, rest)
    ]
    overhead = replace(base.overhead, step_s=(base.overhead.step_s or 0.0) + added_s, step_error=error)
    source = {**base.source, "host": _source(found, loads, parts)}
    return Hosted(profile=replace(base, overhead=overhead, check=None, source=source), figures=tuple(figures))


def _source(found: Fit, loads: Sequence[SeenLoad], parts: Sequence[np.ndarray]) -> str:
    count, every = (
        sum(int(one) for one in sums) for sums in ([p.sum() for p in parts], [len(p) for p in parts])
    )
    return (
        f"{format_duration(float(found.values[0]))} a step, with which the mean time per output token of {count} of "
        f"{every} requests of {', '.join(one.name for one in loads)} is as measured"
    )


def _chosen(load: SeenLoad, part: slice) -> "np.ndarray":
    """Which requests calibrate, a warm-up left out."""
    if not load.taken_s:
        raise InputError(
            f"{load.name} has no single requests, which tell what a host takes; have the load generator keep them"
        )
    found = np.zeros(len(load.taken_s), dtype=bool)
    found[load.warm_up :][part] = True
    if not any(tokens > 1 for tokens in np.array(load.output_tokens)[found].tolist()):
        raise InputError(f"{load.name} has no request of several tokens that calibrates; send longer answers")
    return found


def _rest(chosen: "np.ndarray") -> "np.ndarray":
    """The other requests, or all if all calibrate."""
    return chosen if chosen.all() else ~chosen


def _figures(load: SeenLoad, chosen: "np.ndarray") -> dict[str, float]:
    """Measured figures of some requests. [s]"""
    lengths = list(zip(load.input_tokens, load.output_tokens, strict=True))
    kept = np.flatnonzero(chosen).tolist()
    return figures_of([load.taken_s[at] for at in kept], [lengths[at] for at in kept])


def _of(seen: Served, chosen: "np.ndarray") -> dict[str, float]:
    """Predicted figures of some requests. [s]"""
    taken_s = list(zip(seen.ttft_s[chosen].tolist(), seen.response_s[chosen].tolist(), strict=True))
    lengths = zip(seen.input_tokens[chosen].tolist(), seen.output_tokens[chosen].tolist(), strict=True)
    return figures_of(taken_s, list(lengths))
