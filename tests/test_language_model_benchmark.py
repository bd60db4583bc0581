"""The arithmetic of `benchmarks/language_models.py`, without the measurements that it reads."""

from dataclasses import replace
from itertools import product

import language_models as lm
import numpy as np
import pytest

COST = lm.StepLaw(at=(1, 64, 128), decode_s=(0.007, 0.008, 0.011), per_prompt_s=2e-5, request_s=0.0)


def cells(cost: lm.StepLaw = COST) -> list[lm.Cell]:
    found = [
        lm.Cell(users=users, given=given, got=got, tpot_s=1.0, ttft_s=0.1)
        for users, (given, got) in product((4, 16, 64), ((512, 512), (2048, 64), (512, 64)))
    ]
    return [replace(cell, tpot_s=cell.predicted_s(cost)) for cell in found]


def test_calibration_cells_are_chosen_by_lengths_and_users_alone():
    found = cells()
    chosen = lm.calibrating(found)
    others = lm.calibrating([replace(cell, tpot_s=1.0 / cell.tpot_s) for cell in found])
    assert [(cell.users, cell.mix) for cell in chosen] == [
        (4, (512, 512)), (16, (512, 512)), (64, (512, 512)), (4, (2048, 64)), (64, (2048, 64)), (64, (512, 64)),
    ]  # fmt: skip
    assert [(cell.users, cell.mix) for cell in others] == [(cell.users, cell.mix) for cell in chosen]


def test_six_cells_of_a_known_cost_predict_the_others():
    found = lm.judged_system("known", cells())
    assert found.residual < 0.02
    assert found.mape < 0.02


def test_passes_that_take_no_longer_for_prompts_are_the_tpot_of_a_closed_loop():
    cell = lm.Cell(users=8, given=100, got=50, tpot_s=1.0, ttft_s=0.1)
    alone = lm.StepLaw(at=(1, 8), decode_s=(0.01, 0.01))
    assert cell.predicted_s(alone) == pytest.approx(0.01)


def test_a_sender_holds_back_what_is_too_many():
    count, most = 400, 20
    generator = np.random.default_rng(1)
    load = lm.Load(
        sent_s=np.sort(generator.random(count)),
        input_tokens=np.full(count, 100),
        output_tokens=np.full(count, 30),
        cached_tokens=np.zeros(count, dtype=np.int64),
        flight_max=most,
    )
    rules = lm.EngineRules(sequences_max=128, tokens_max=2048, blocks=10_000)
    seen = lm.served(lm.table_of(COST, 2048, 512), rules, load, 0.01)
    sent_s = seen.finished_s - seen.response_s
    ended_s = np.sort(seen.finished_s)
    in_flight = np.arange(1, count + 1) - np.searchsorted(ended_s, sent_s + 1e-9, side="right")
    assert in_flight.max() == most


def test_a_client_that_counts_lines_has_twice_the_tokens_and_more():
    tokens, tpot_s = 64, 0.007
    span_s = (tokens - 1) * tpot_s
    row = {
        "e2e_mean_s": str(0.03 + span_s),
        "ttft_mean_s": "0.03",
        "tpot_client_mean_s": str(span_s / (2 * tokens + 1.5)),
    }
    assert lm.output_tokens(row) == tokens
    assert lm.measured_of(row, tokens)("tpot_mean_s") == pytest.approx(tpot_s)
