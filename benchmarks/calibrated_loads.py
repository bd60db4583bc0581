"""Calibrated loads: published measurements through `capacity import`, and the loads that it did not see beside them.

    python benchmarks/calibrated_loads.py FOLDER [--only rates cells stages]

FOLDER is as in `language_models.py`. Each row is written in the form of the tool that measured it, some rows calibrate
a profile, and the others are judged. Rules that look at rates, lengths and numbers of users alone fix which calibrate.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from language_models import (
    Cell,
    Judged,
    Row,
    ask,
    by_experiment,
    calibrating,
    interval,
    machine,
    measured_of,
    ms,
    output_tokens,
    per_cent,
    rate_rows,
    systems,
    table,
)

import capacity as cap
from capacity.answers.evidence import LlmProfileAnswer
from capacity.errors import CapacityError
from capacity.formats.registry import Kind, read
from capacity.profile.llm import LlmProfile
from capacity.profile.llm_loads import SeenLoad
from capacity.profile.llm_sampling import resampled_steps
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthRows
from simulations.calibration.calibrate import forecast
from simulations.saturation import saturation

RUNS, RESAMPLES = 9, 24
SECTIONS = ("rates", "cells", "stages")
RATE_CALIBRATES, RATE_SETTINGS, IN_FLIGHT = (0, 2, 5), (128, 8192), 440
RATE_BARS = {"e2e_mean": 0.05, "e2e_p99": 0.05, "ttft_p99": 0.10}
KNEE = (0.90, 1.15)
CELLS_MIN, CELL_BAR, CELL_TURNS, CELL_BUDGET = 8, 0.05, 4, 8192
STAGE_SETTINGS = (128, 2048)
STAGE_BARS = {"e2e_p99": 6.0, "ttft_mean": 10.0, "ttft_p99": 20.0, "tpot_mean": 4.0}


def as_inference_perf(row: Row, got: int) -> dict[str, Any]:
    """A row as the tool's stage report; the output is what its lines say, as in `language_models.py`."""

    def figures(measure: str) -> dict[str, float]:
        keys = {"mean": "mean", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
        return {key: float(row[f"{measure}_{which}_s"]) for key, which in keys.items()}

    prompts = {
        key: float(row[f"prompt_len_{key}"]) for key in ("mean", "min", "max") if f"prompt_len_{key}" in row
    }
    prompts["median"] = prompts["mean"]
    count = int(row["n_ok"])
    return {
        "load_summary": {"count": count, "requested_rate": float(row["rate_rps"])},
        "successes": {
            "count": count,
            "latency": {"request_latency": figures("e2e"), "time_to_first_token": figures("ttft")},
            "prompt_len": prompts,
            "output_len": {"mean": got},
        },
        "failures": {"count": int(row["n_failed"])},
    }


def as_totals(cell: Cell) -> dict[str, Any]:
    """A cell as the totals of `vllm bench serve`."""
    count = CELL_TURNS * cell.users
    return {
        "request_rate": "inf", "max_concurrency": cell.users, "completed": count, "duration": 1.0,
        "request_throughput": 1.0, "total_input_tokens": count * cell.given, "total_output_tokens": count * cell.got,
        "mean_ttft_ms": 1e3 * cell.ttft_s, "mean_tpot_ms": 1e3 * cell.tpot_s,
    }  # fmt: skip


def imported(documents: Sequence[dict[str, Any]], settings: tuple[int, int], **flags: Any) -> LlmProfile:
    """The profile that `capacity import` makes of these files."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.json" for number in range(len(documents))]
        for path, document in zip(paths, documents, strict=True):
            path.write_text(json.dumps(document))
        answer = cap.import_file(
            paths, sequences_max=settings[0], batched_tokens_max=settings[1], async_scheduling="off", **flags
        )
    assert isinstance(answer, LlmProfileAnswer)
    return answer.profile


def load_of(document: dict[str, Any], in_flight_max: int | None = None) -> SeenLoad:
    """A load as the product reads it, and as its generator held requests back."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "load.json"
        path.write_text(json.dumps(document))
        (found,) = read(path, Kind.LOADS)
    assert isinstance(found, SeenLoad)
    return found if in_flight_max is None else replace(found, in_flight_max=in_flight_max)


def judged(
    profile: LlmProfile,
    settings: tuple[int, int],
    load: SeenLoad,
    measured: dict[str, float],
    share: float = 0.0,
) -> dict[str, Judged]:
    """Figures of a load, with intervals of other calibrations and other instants of sending together."""
    ours = [forecast(profile, settings, load, seed, share) for seed in range(RUNS)]
    generator = np.random.default_rng(7)
    others = []
    for seed in range(RESAMPLES):
        drawn = resampled_steps(profile, generator)
        others.append(forecast(drawn, settings, load, 100 + seed, share))
    found = {}
    for name, value in measured.items():
        middle = float(np.median([one.figure(name) for one in ours]))
        low, high = interval([one.figure(name) for one in others], middle)
        found[name] = Judged(name=name, measured=value, predicted=middle, low=low, high=high)
    return found


HEAD = ("judged", "figure", "measured [ms]", "predicted [ms]", "error", "95 %", "inside")


def lines(name: str, found: dict[str, Judged]) -> list[list[str]]:
    return [
        [name, one.name.replace("_", " "), ms(one.measured), ms(one.predicted), per_cent(one.error),
         f"{ms(one.low)} to {ms(one.high)}", "yes" if one.is_inside else "no"]
        for one in found.values()
    ]  # fmt: skip


def saturated_rps(profile: LlmProfile, given: int, got: int) -> float:
    """Rate at which an engine of the profile saturates; a load is a rate over it. [requests/s]"""
    limits = profile.limits_measured
    plan = TokenPlan(
        profile=profile.name,
        replicas=1,
        sequences_max=limits.sequences_max,
        batched_tokens_max=limits.batched_tokens_max,
    )
    return saturation(profile, plan, LengthRows((given,), (got,), "requests")).rate_rps


def rates(folder: Path) -> bool:
    print("\n### One H100 at seven rates\n")
    kept, body, inside = True, [], []
    for config in ("vllm", "vllm+quantization"):
        rows, switch = rate_rows(folder, config), "off" if config == "vllm" else "on"
        documents = [as_inference_perf(row, output_tokens(row)) for row in rows]
        profile = imported(
            [documents[at] for at in RATE_CALIBRATES], RATE_SETTINGS, kv_tokens=400_000, in_flight_max=IN_FLIGHT,
            chunked_prefill=switch, prefix_caching=switch,
        )  # fmt: skip
        assert profile.calibration is not None
        print(f"{config}: residual {100 * profile.calibration.residual:.1f} %\n")
        most_rps = saturated_rps(profile, 204, output_tokens(rows[0]))
        for at, row in enumerate(rows):
            if at in RATE_CALIBRATES:
                continue
            measured = {
                name: float(row[f"{name}_s"]) for name in ("e2e_mean", "e2e_p99", "ttft_mean", "ttft_p99")
            }
            found = judged(profile, RATE_SETTINGS, load_of(documents[at], IN_FLIGHT), measured)
            body += lines(f"{config}, {float(row['rate_rps']):.4g} rps", found)
            inside += [one.is_inside for name, one in found.items() if name.endswith("p99")]
            is_knee = KNEE[0] <= float(row["rate_rps"]) / most_rps <= KNEE[1]
            for name, bar in RATE_BARS.items():
                ok = found[name].is_inside if is_knee else abs(found[name].error) <= bar
                kept &= ok
                if not ok:
                    ask("rates", f"{config}, {row['rate_rps']} rps: {name}", kept=False)
    table(HEAD, body)
    ask("rates", "E2E mean and P99 within 5 %, TTFT P99 within 10 % off the knee, inside at it", kept=kept)
    share = f"{sum(inside)} of {len(inside)} P99 inside 95 %"
    return ask("rates", share, kept=sum(inside) >= 0.9 * len(inside)) and kept


def cells(folder: Path) -> bool:
    print("\n### Closed loops of equal lengths\n")
    body, every, trusted, refused = [], [], [], 0
    for name, found in systems(folder).items():
        if len(found) < CELLS_MIN:
            continue
        chosen, users = calibrating(found), max(cell.users for cell in found)
        longest = max(cell.given + cell.got for cell in found)
        profile = imported(
            [as_totals(cell) for cell in chosen], (users, CELL_BUDGET), prefix_caching="off",
            kv_tokens=2 * (users + 2) * (longest + 32),
        )  # fmt: skip
        assert profile.calibration is not None
        off = []
        for cell in (cell for cell in found if cell not in chosen):
            try:
                seen = forecast(profile, (users, CELL_BUDGET), load_of(as_totals(cell)), 0)
            except CapacityError:
                refused += 1
                continue
            off.append(seen.figure("tpot_mean") / cell.tpot_s - 1.0)
        every += off
        trusted += off if profile.calibration.residual <= CELL_BAR else []
        body.append(
            [name, str(len(off)), f"{100 * profile.calibration.residual:.1f} %", f"{100 * np.abs(off).mean():.1f} %",
             per_cent(float(np.mean(off)))]
        )  # fmt: skip
    table(["system", "judged cells", "residual of the 6", "MAPE", "mean error"], body)
    mape, of_trusted = (float(np.abs(part).mean()) for part in (every, trusted))
    print(
        f"{len(every)} cells judged, {refused} refused; where the residual is 5 % or less: {100 * of_trusted:.1f} %.\n"
    )
    return ask("cells", f"MAPE {100 * mape:.1f} % where 5 % are asked", kept=mape <= CELL_BAR)


def stages(folder: Path) -> bool:
    """Stage 1 of each experiment, from all other stages of its model that did not fail."""
    print("\n### Stages of two rates on H100s\n")
    models: dict[str, list[Row]] = defaultdict(list)
    for row in (row for group in by_experiment(folder).values() for row in group):
        if int(row["n_failed"]) < 0.01 * int(row["n_sent"]):
            models[row["model"]].append(row)
    body, errors = [], defaultdict(list)
    for rows in models.values():
        for row in (row for row in rows if row["stage"] != "0"):
            rest = [one for one in rows if one is not row and "reasoning" not in one["experiment"]]
            shares = [
                float(one["system_prompt_tokens"]) / float(one["prompt_len_mean"]) for one in (row, *rest)
            ]
            got = int(float(row["output_tokens_max"]))
            documents = [as_inference_perf(one, int(float(one["output_tokens_max"]))) for one in rest]
            name = f"{row['experiment'][16:]}, {float(row['rate_rps']):g} rps"
            profile = imported(
                documents,
                STAGE_SETTINGS,
                kv_tokens=16_000_016,
                cached_share=f"{100 * np.mean(shares[1:]):.6f}%",
            )
            measured = {one: measured_of(row, got)(f"{one}_s") for one in STAGE_BARS}
            try:
                found = judged(
                    profile, STAGE_SETTINGS, load_of(as_inference_perf(row, got)), measured, shares[0]
                )
            except CapacityError as error:
                body.append([name, "refused", *[""] * 5])
                print(f"{name}: {error}\n")
                continue
            body += lines(name, found)
            for one, value in found.items():
                errors[one].append(100.0 * abs(value.error))
    table(HEAD, body)
    medians = {name: float(np.median(errors[name])) for name in STAGE_BARS}
    kept = [
        ask("stages", f"median error of {name} {medians[name]:.1f} % of {bar:g} %", kept=medians[name] <= bar)
        for name, bar in STAGE_BARS.items()
    ]
    return all(kept)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    options = parser.parse_args()
    print(f"<!-- python benchmarks/calibrated_loads.py FOLDER, {machine()}, {datetime.now(UTC).date()} -->\n")
    parts = {"rates": rates, "cells": cells, "stages": stages}
    kept = [parts[name](options.folder) for name in options.only]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
