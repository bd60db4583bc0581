"""Speculation: laws of what is accepted, what it adds to a profile, and what is refused."""

import json
from dataclasses import replace
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import InputError
from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile, Scheduler
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document, with_settings
from capacity.profile.speculation import Drafter, Speculation

PROFILE = LlmProfile(
    name="drafting",
    kv=KvCache(tokens=160_000),
    limits_measured=LimitsMeasured(sequences_max=64, batched_tokens_max=2048, context_tokens_max=4096),
    coefficients=Coefficients(base_s=0.01, per_prefill_token_s=2e-5, per_decode_request_s=1e-4),
    engine=Engine(scheduler=Scheduler.VLLM_V1_0_33),
    speculation=Speculation(
        draft_tokens=3, acceptance_rates=(0.75, 0.5, 0.25), draft_token_s=0.001, method=Drafter.EAGLE3
    ),
)


def test_a_mean_length_is_that_of_tokens_that_are_accepted_alike() -> None:
    """Leviathan et al. (2023), eq. 1: (1 - 0.8^6)/(1 - 0.8) = 3.68928 tokens of five drafts at 0.8."""
    found = Speculation(draft_tokens=5, acceptance_length=3.68928)
    assert found.rates == pytest.approx([0.8**at for at in range(1, 6)])
    assert found.tokens_mean == pytest.approx(3.68928)


@pytest.mark.parametrize(("length", "rates"), [(1.0, (0.0, 0.0)), (3.0, (1.0, 1.0))])
def test_nothing_and_everything_is_accepted_at_the_ends(length: float, rates: tuple[float, ...]) -> None:
    assert Speculation(draft_tokens=2, acceptance_length=length).rates == pytest.approx(rates, abs=1e-15)


def test_more_drafts_than_tokens_break_an_answer_where_one_is_rejected() -> None:
    """1 + (m - 2)(1 - p) passes after the first token, since each token but the first of them may begin one."""
    law = Speculation(draft_tokens=40, acceptance_rates=tuple(0.7**at for at in range(1, 41)))
    for output in (2, 3, 10, 40):
        assert float(law.passes(output)) == pytest.approx(2.0 + (output - 2) * 0.3)


@given(
    st.integers(1, 6),
    st.floats(0.05, 0.95),
    st.lists(st.integers(2, 300), min_size=1, max_size=20),
)
@settings(deadline=None, max_examples=25)
def test_events_give_back_the_length_that_they_come_of(tokens: int, share: float, outputs: list[int]) -> None:
    """As many events as answers take on average, rounded: the length is off by no more than half an event."""
    law = Speculation(draft_tokens=tokens, acceptance_length=1.0 + share * tokens, in_steps=True)
    exact = float((law.passes(outputs) - 1.0).sum())
    found = Speculation.of_events(tokens, outputs, round(exact) + len(outputs))
    assert float((found.passes(outputs) - 1.0).sum()) == pytest.approx(exact, abs=0.51)
    assert found.in_steps


def test_a_drafter_that_drafts_half_of_the_time_brings_half_as_much() -> None:
    law = Speculation(draft_tokens=2, acceptance_rates=(0.8, 0.2))
    assert law.in_share(0.5).rates == (0.4, 0.1)
    assert law.in_share(1.7).rates == law.rates


@given(st.lists(st.integers(0, 8), min_size=1, max_size=4), st.integers(1, 12))
def test_passes_are_what_all_ways_through_an_answer_take(shares: list[int], output: int) -> None:
    """Counted by hand, in fractions."""
    rates = [Fraction(share, 8) for share in sorted(shares, reverse=True)]
    chances = [a - b for a, b in zip([Fraction(1), *rates], [*rates, Fraction(0)], strict=True)]

    def passes(missing: int) -> Fraction:
        if missing <= 0:
            return Fraction(0)
        return 1 + sum(chance * passes(missing - 1 - at) for at, chance in enumerate(chances) if chance)

    law = Speculation(draft_tokens=len(rates), acceptance_rates=tuple(map(float, rates)))
    assert float(law.passes(output)) == pytest.approx(float(1 + passes(output - 1)))


def test_passes_go_on_as_a_line_beyond_what_is_counted() -> None:
    law = PROFILE.speculation
    assert law is not None
    near, far = law.passes([4_097, 8_193])
    assert law.passes(4_096.5) == pytest.approx((law.passes(4_096) + law.passes(4_097)) / 2.0)
    assert (far - near) * law.tokens_mean == pytest.approx(4_096)
    assert law.passes([1, 1]).tolist() == [1.0, 1.0]
    assert law.passes(4_097) - law.passes(4_000) == pytest.approx(97 / law.tokens_mean)


def test_half_the_drafts_take_binomially_many_passes() -> None:
    """One draft accepted every other time: passes after n tokens, over all numbers of them that were accepted."""
    law = Speculation(draft_tokens=1, acceptance_rates=(0.5,))
    missing = 9  # at least k passes are needed for 9 tokens unless k - 1 of them brought 9
    still = [
        sum(comb(k, doubles) for doubles in range(k + 1) if k + doubles < missing) / 2**k
        for k in range(missing)
    ]
    assert float(law.passes(1 + missing)) == pytest.approx(1.0 + sum(still))


def test_the_drafter_takes_its_time_in_each_pass_and_verifying_that_of_prompts() -> None:
    plain = replace(PROFILE, speculation=None)
    plain_s, found_s = (one.table.mean_s(decode_requests=8, kv_tokens=80) for one in (plain, PROFILE))
    assert found_s == pytest.approx(plain_s + 0.003)
    assert PROFILE.pass_s(0.0, 8.0, 10.0) == pytest.approx(0.01 + 8e-4 + 24 * 2e-5 + 0.003)
    measured = replace(PROFILE, speculation=Speculation(draft_tokens=3, acceptance_length=2.0, in_steps=True))
    assert measured.pass_s(0.0, 8.0, 10.0) == plain.pass_s(0.0, 8.0, 10.0) == pytest.approx(0.01 + 8e-4)


def test_a_faster_device_drafts_faster() -> None:
    found = PROFILE.scaled(0.5).speculation
    assert found is not None
    assert found.draft_token_s == 0.0005


def test_a_file_gives_back_what_it_was_written_from() -> None:
    document = json.loads(json.dumps(llm_profile_to_document(PROFILE)))
    assert document["speculation"] == {
        "draft_tokens": 3, "acceptance_rates": [0.75, 0.5, 0.25], "draft_token_s": 0.001, "in_steps": False,
        "method": "eagle3",
    }  # fmt: skip
    assert read_llm_document(document, "again") == PROFILE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"draft_tokens": 0}, "draft_tokens must be from 1 to 64"),
        ({"acceptance_rates": None}, "needs either acceptance_rates or acceptance_length"),
        ({"acceptance_length": 2.0}, "needs either acceptance_rates or acceptance_length"),
        ({"acceptance_rates": (0.5,)}, "has 1 shares for 3 draft_tokens"),
        ({"acceptance_rates": (0.5, 0.6, 0.1)}, "must not rise"),
        ({"acceptance_rates": (1.5, 0.6, 0.1)}, "shares from 0 to 1"),
        ({"acceptance_rates": (0.5, float("nan"), 0.1)}, "shares from 0 to 1"),
        ({"acceptance_rates": None, "acceptance_length": 4.1}, "from 1 to 4, the next token"),
        ({"draft_token_s": -1.0}, "draft_token_s must be from 0"),
        ({"in_steps": True}, "have the drafter in them"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    assert PROFILE.speculation is not None
    with pytest.raises(InputError, match=message):
        replace(PROFILE.speculation, **given)


@pytest.mark.parametrize("scheduler", [Scheduler.SGLANG, Scheduler.LLAMA_CPP])
def test_rules_that_were_not_read_with_a_drafter_are_refused(scheduler: Scheduler) -> None:
    with pytest.raises(InputError, match=f"rules of {scheduler.value} are not known for"):
        with_settings(PROFILE, scheduler=scheduler)
    assert with_settings(PROFILE, scheduler=scheduler, draft_tokens=0).speculation is None


def test_fewer_tokens_are_drafted_and_none() -> None:
    one = with_settings(PROFILE, draft_tokens=1)
    assert one.speculation == replace(PROFILE.speculation, draft_tokens=1, acceptance_rates=(0.75,))
    assert one.spare_tokens == 2 * 1 + 1
    assert with_settings(PROFILE, draft_tokens=0) == replace(PROFILE, speculation=None)
    assert with_settings(PROFILE, draft_tokens=3) == PROFILE
    assert with_settings(replace(PROFILE, speculation=None), draft_tokens=0).speculation is None


@pytest.mark.parametrize(
    ("speculation", "tokens", "message"),
    [
        (PROFILE.speculation, 4, "acceptance was measured up to 3 draft tokens and is not known for 4"),
        (Speculation(draft_tokens=3, acceptance_length=2.0, in_steps=True), 0, "do not say what 0 take"),
        (None, 2, "does not say how many drafted tokens are accepted"),
        (PROFILE.speculation, -1, "draft_tokens must be from 1"),
    ],
)
def test_drafts_that_were_not_measured_are_refused(speculation, tokens: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_settings(replace(PROFILE, speculation=speculation), draft_tokens=tokens)


def test_a_request_keeps_room_for_its_drafts() -> None:
    assert PROFILE.spare_tokens == 9  # two passes of three are known at once, and the drafter is three ahead
    in_turn = replace(PROFILE, engine=replace(PROFILE.engine, async_scheduling=False))
    assert in_turn.spare_tokens == 6
    assert replace(PROFILE, speculation=None).spare_tokens == 0
    assert np.isfinite(PROFILE.table.decode_s).all()
