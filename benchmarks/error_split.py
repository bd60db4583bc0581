"""Error split: what a prediction of the reference server misses, as drift, profile, generator and model.

    python benchmarks/error_split.py --artifacts artifacts/mlp -o FOLDER    # measure what FOLDER does not have yet
    python benchmarks/error_split.py --split FOLDER -o slices.jsonl
    python benchmarks/error_split.py slices.jsonl                           # print the page

A cell is a largest batch and a load. Slices of some seconds of load and profiles take turns at one server, so that
each slice has a profile before and after it. Each request is kept: when it was meant to be sent, when it was, when it
was answered, and the time and size of its batch. Then the simulator replays each slice several times, and each replay
knows more than the last:

    before      the profile before the slice, at the instants at which requests were meant to be sent
    around      the profiles before and after it together
    apart       the same without spells: batch times of which none depends on the one before
    times       the batch times that the slice really had, each size's in random order
    order       the same, each batch with the very time that it took
    sent        the same, at the instants at which requests were really sent
    measured    no replay

What one changes of the last is drift, profile (of that spells, times and order), generator and model; these four add
up to the error. If the spells of a profile are right, they and the order cancel each other.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from predicted_beside_measured import CORES, SEED, SLICE_S, WARM_UP_S, Bench, Cell, Slice, pooled

from capacity.measurement.findings import machine
from capacity.measurement.sections import normal_scores, smallest_reaching
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.traffic.workload import TraceArrivals, Workload
from capacity.verification.load_test import IN_FLIGHT_MAX
from capacity.verification.validity import faults
from simulations.draws.arrivals import Draws, Seed, Stage, draw
from simulations.draws.records import Floats, Integers
from simulations.draws.service import ProfileTimes
from simulations.kernel.serve import run

LOADS, SIZES = (0.3, 0.5, 0.7, 0.85), (1, 8)
SLICES, COPIES = 6, 20
SAMPLES_SHARE = 0.25
QUANTITIES = {"mean": "mean", "p99": "P99"}
STAGES = ("before", "around", "apart", "times", "order", "sent", "measured")
PARTS = {
    "drift": ("before", "around"),
    "profile": ("around", "order"),
    "of that spells": ("around", "apart"),
    "times": ("apart", "times"),
    "order": ("times", "order"),
    "generator": ("order", "sent"),
    "model": ("sent", "measured"),
}


WHOLE = ("drift", "profile", "generator", "model")
NEAR = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A slice as it is kept, by request: instants from its start, and the time and size of its batch. [s]"""

    meant_s: Floats
    sent_s: Floats
    ended_s: Floats
    batch_s: Floats
    batch_size: Integers

    @property
    def counts(self) -> Any:
        """Which requests came after the warm-up."""
        return self.meant_s >= WARM_UP_S

    @property
    def lags_s(self) -> Floats:
        """Time from when each request was meant to be sent to when it was. [s]"""
        return self.sent_s - self.meant_s


def measure(cell: Cell, options: argparse.Namespace, folder: Path) -> None:
    """Slices of load and profiles of one server in turn."""
    partial = Path(tempfile.mkdtemp(dir=folder.parent))
    with ExitStack() as fleet:
        bench = Bench(cell, options, partial, fleet)
        rate_rps = cell.load * _profiled(bench, 0).throughput_rps(cell.batch_size_max)
        lone, told = bench.lone_requests(rate_rps), []
        for number in range(options.slices):
            before = _stolen_s()
            part = bench.load(rate_rps, SLICE_S, SEED + number)
            stolen = (_stolen_s() - before) / part.run.schedule.duration_s
            _keep(part, partial / f"slice-{number}.npz")
            told.append(
                {"stolen": stolen, "cpu": part.run.cpu_share, "faults": list(faults(part.run, IN_FLIGHT_MAX))}
            )
            _profiled(bench, number + 1)
    facts = {"key": cell.key, "behind": options.behind, "rate_rps": rate_rps, "beside_s": lone.beside_s,
             "slices": told, "machine": machine()["cpu"], "date": machine()["date"]}  # fmt: skip
    (partial / "cell.json").write_text(json.dumps(facts), "utf-8")
    partial.rename(folder)


def _profiled(bench: Bench, number: int) -> ServiceProfile:
    """A profile that is measured now, and kept."""
    found = bench.profile(share=SAMPLES_SHARE)
    shutil.copy(bench.folder / "profile.json", bench.folder / f"profile-{number}.json")
    return found


def _stolen_s() -> float:
    """Time that the host has kept this machine's cores from running, of all of them. [s]"""
    rows = [
        line.split() for line in Path("/proc/stat").read_text("utf-8").splitlines() if line.startswith("cpu")
    ]
    return sum(int(row[8]) for row in rows[1:] if int(row[0][3:]) in CORES) / 100.0


def _keep(part: Slice, file: Path) -> None:
    one = part.run
    np.savez_compressed(file, meant_s=one.schedule.instants_s, sent_s=one.sent_s, ended_s=one.ended_s,
                        batch_s=part.batch_s, batch_size=part.batch_size)  # fmt: skip


def own_times(kept: Kept, known: ServiceProfile, cell: Cell) -> tuple[ServiceProfile, Floats]:
    """A profile of a slice's own batch times, and for each request the probability at which that has its batch's time.

    What the server does beside batches is done on its core meanwhile, so that these times have it already.
    """
    uniforms, timings = np.zeros(len(kept.batch_s)), {}
    for size in range(1, cell.batch_size_max + 1):
        chosen = kept.batch_size == size
        times_s = np.sort(kept.batch_s[chosen])
        if len(times_s):
            timings[size] = BatchTiming(batch_size=size, samples_s=tuple(times_s.tolist()))
            places = np.searchsorted(times_s, kept.batch_s[chosen])
            uniforms[chosen] = (places + 0.5) / len(times_s)
    for size in {1, cell.batch_size_max} - set(timings):
        timings[size] = BatchTiming(batch_size=size, mean_s=known.service_mean_s(size))
    return ServiceProfile(name="own", timings=tuple(timings.values())), uniforms


def replayed(
    cell: Cell, profile: ServiceProfile, arrived_s: Floats, seed: int, uniforms: Floats | None = None
) -> Floats:
    """Time in queue and batch of requests that arrive at given instants, with given or random batch times. [s]"""
    trace = TraceArrivals(instants_s=tuple(np.maximum.accumulate(arrived_s).tolist()))
    workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
    draws = draw(workload, len(arrived_s), Seed(value=seed, stage=Stage.VERIFY), profile.spells)
    assert isinstance(draws, Draws)
    if uniforms is not None:
        draws = replace(draws, service=uniforms)
    return run(cell.plan, ProfileTimes(profile), draws).response_s


def stages(
    cell: Cell,
    kept: Kept,
    before: ServiceProfile,
    after: ServiceProfile,
    beside_s: float,
    copies: int = COPIES,
) -> dict[str, Floats]:
    """Responses of a slice's counted requests, as each stage has them. [s]

    Each replay adds the time outside the server that was measured before the load, in which the usual lag is.
    """
    around = pooled(before, [], after)
    own, uniforms = own_times(kept, around, cell)
    random = {"before": before, "around": around, "apart": replace(around, spells=None), "times": own}
    found = {
        name: np.concatenate([replayed(cell, one, kept.meant_s, seed)[kept.counts] for seed in range(copies)])
        + beside_s
        for name, one in random.items()
    }
    lags_s = kept.lags_s - np.median(kept.lags_s)
    found["order"] = replayed(cell, own, kept.meant_s, 0, uniforms)[kept.counts] + beside_s
    found["sent"] = (replayed(cell, own, kept.sent_s, 0, uniforms) + lags_s)[kept.counts] + beside_s
    found["measured"] = (kept.ended_s - kept.meant_s)[kept.counts]
    return found


def quantities(responses_s: Floats) -> dict[str, float]:
    """Mean and P99. [s]"""
    return {"mean": float(responses_s.mean()), "p99": smallest_reaching(responses_s, 0.99)}


def split(folder: Path) -> dict[str, Any]:
    """The line of a cell: mean and P99 of each stage, of all slices together and of each."""
    told = json.loads((folder / "cell.json").read_text("utf-8"))
    load, size, wait_s, *_ = told["key"]
    cell = Cell(load=load, batch_size_max=size, batch_wait_max_s=wait_s)
    profiles = [
        load_profile(str(folder / f"profile-{number}.json")) for number in range(len(told["slices"]) + 1)
    ]
    found, lines = [], []
    for number, (facts, (before, after)) in enumerate(zip(told["slices"], pairwise(profiles), strict=True)):
        with np.load(folder / f"slice-{number}.npz") as arrays:
            kept = Kept(**arrays)
        found.append(stages(cell, kept, before, after, told["beside_s"]))
        inside_s = kept.batch_s[kept.counts]
        lines.append({
            **facts,
            "requests": int(kept.counts.sum()),
            "lag_p99_s": float(np.quantile(kept.lags_s[kept.counts], 0.99)),
            "batch_mean": float(1.0 / np.mean(1.0 / kept.batch_size[kept.counts])),
            "batch_s": float(inside_s.mean()),
            "profile_s": [float(_like(kept, one).mean()) for one in (before, after)],
            "stages": {name: quantities(one) for name, one in found[-1].items()},
        })  # fmt: skip
        if cell.batch_size_max == 1:
            lines[-1]["in_common"] = [
                0.0 if before.spells is None else before.spells.share,
                in_common(kept.batch_s),
            ]
    together = {name: quantities(np.concatenate([one[name] for one in found])) for name in STAGES}
    return {**told, "slices": lines, "stages": together}


def in_common(batch_s: Floats) -> float:
    """Correlation of the normal scores of neighbouring batches, of which a profile's spells are made."""
    scores = normal_scores(batch_s)
    return float((scores[1:] * scores[:-1]).mean())


def _like(kept: Kept, profile: ServiceProfile) -> Floats:
    """Mean time that a profile has for the batch of each counted request. [s]"""
    sizes = kept.batch_size[kept.counts]
    means_s = {size: profile.service_mean_s(size) for size in np.unique(sizes).tolist()}
    return np.array([means_s[size] for size in sizes.tolist()])


def page(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of Markdown: the split of each cell, and then of each slice."""
    for is_behind, some in groupby(sorted(cells, key=_order), lambda cell: bool(cell["behind"])):
        together = list(some)
        yield from ["", f"### {'Without' if is_behind else 'With'} priority over other work", ""]
        yield from _header("batches up to", "load", "")
        for cell in together:
            for name, title in QUANTITIES.items():
                yield f"| {_name(cell)}: {cell['rate_rps']:.0f} rps | {title} | {_row(cell['stages'], name)} |"
        yield from ["", *middles([one for cell in together for one in cell["slices"]])]
        yield from ["", "P99 of each slice:", ""]
        yield from _header(
            "batches up to", "load", "requests", "batch [ms]", "lag P99 [ms]", "stolen", "late"
        )
        for cell in together:
            for one in cell["slices"]:
                yield f"| {_name(cell)} | {_facts(one)} | {_row(one['stages'], 'p99')} |"


def middles(slices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The size of each part over slices, whatever its sign, as a sentence for each quantity."""
    for name, title in QUANTITIES.items():
        found = [parts(one["stages"], name) for one in slices]
        sizes = {part: sorted(abs(one[part]) for one in found) for part in WHOLE}
        told = ", ".join(
            f"{part} {100 * median(sizes[part]):.1f} % ({100 * sizes[part][-1]:.0f} % at most)"
            for part in WHOLE
        )
        near = sum(one <= NEAR for one in sizes["model"])
        yield (
            f"{title} of {len(slices)} slices, whatever the sign, in the middle: {told}. The model's part is within "
            f"{NEAR:.0%} in {near} of them."
        )

    told = [one["in_common"] for one in slices if "in_common" in one]
    ends = [f"{min(column):.2f} to {max(column):.2f}" for column in zip(*told, strict=True)]
    yield f"Batches of one have in common with their neighbours: {ends[0]} by profiles, {ends[1]} in slices."


def _header(*columns: str) -> Iterator[str]:
    titles = [*columns, "measured [ms]", "predicted [ms]", "error", *PARTS]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"


def _name(cell: Mapping[str, Any]) -> str:
    return f"{cell['key'][1]} | {cell['key'][0]:g}"


def _order(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    load, size, *_ = cell["key"]
    return cell["behind"], size, load


def parts(found: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    """The error and its parts, as shares of what was measured."""
    shares = {stage: found[stage][name] / found["measured"][name] for stage in STAGES}
    errors = {part: shares[knows_less] - shares[knows] for part, (knows_less, knows) in PARTS.items()}
    return {"error": shares["before"] - 1.0, **errors}


def _row(found: Mapping[str, Mapping[str, float]], name: str) -> str:
    told = " | ".join(f"{100 * one:+.1f}%" for one in parts(found, name).values())
    return f"{1e3 * found['measured'][name]:.2f} | {1e3 * found['before'][name]:.2f} | {told}"


def _facts(one: Mapping[str, Any]) -> str:
    before_s, after_s = one["profile_s"]
    times = " → ".join(f"{1e3 * x:.2f}" for x in (before_s, one["batch_s"], after_s))
    late = "yes" if one["faults"] else ""
    return f"{one['requests']} | {times} | {1e3 * one['lag_p99_s']:.2f} | {one['stolen']:.1%} | {late}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lines", nargs="?", type=Path)
    parser.add_argument("--artifacts", type=Path)
    parser.add_argument("--split", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cells")
    parser.add_argument("--behind", action="store_true", help="without priority over other work")
    options = parser.parse_args(namespace=argparse.Namespace(flag=[]))
    if options.lines is not None:
        print("\n".join(page([json.loads(line) for line in options.lines.read_text("utf-8").splitlines()])))
    elif options.split is not None:
        found = [split(file.parent) for file in sorted(options.split.glob("*/cell.json"))]
        options.output.write_text("".join(json.dumps(one) + "\n" for one in found), "utf-8")
    else:
        options.output.mkdir(parents=True, exist_ok=True)
        for number, (size, load) in enumerate(product(SIZES, LOADS)):
            folder = options.output / f"{size}-{load:g}{'-behind' if options.behind else ''}"
            if (not options.only or number in options.only) and not folder.exists():
                measure(Cell(load=load, batch_size_max=size, batch_wait_max_s=0.0), options, folder)


if __name__ == "__main__":
    main()
