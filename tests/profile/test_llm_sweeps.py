"""Sweeps: steps of a known law come back from what clients saw; what the sweeps do not tell is refused."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from engine_on_paper import Law, Seen, closed_loop, sweeps

from capacity.errors import InputError
from capacity.profile.llm import Engine, KvCache, LlmProfile, Overhead
from capacity.profile.llm_runs import SeenRequest, SeenRun, token_gaps
from capacity.profile.llm_sampling import has_spread, resampled_steps
from capacity.profile.llm_sweeps import EngineSettings, saturation_check, sweep
from capacity.profile.speculation import Speculation
from capacity.profile.steps import StepTiming
from simulations.saturation import checked_rate_rps, require_check

LAW = Law()
SETTINGS = EngineSettings(kv=KvCache(tokens=65_536), sequences_max=16, batched_tokens_max=512)


def as_run(name: str, seen: list[Seen]) -> SeenRun:
    return SeenRun(
        name=name,
        requests=tuple(
            SeenRequest(
                input_tokens=one.input_tokens,
                output_tokens=one.output_tokens,
                start_s=one.start_s,
                first_s=one.stamps_s[0],
                last_s=one.stamps_s[-1],
                gaps_s=tuple(np.diff(one.stamps_s).tolist()),
            )
            for one in seen
        ),
    )


def profile_of_runs(runs: Sequence[SeenRun], settings: EngineSettings, name: str) -> LlmProfile:
    found = sweep(runs, settings)
    return LlmProfile(
        name=name,
        kv=settings.kv,
        limits_measured=found.limits_measured,
        steps=found.steps,
        overhead=Overhead(request_s=found.overhead_s),
        check=found.check,
        source=found.source,
    )


@pytest.fixture(scope="module")
def runs() -> dict[str, SeenRun]:
    """With up to a millisecond of delay of each token on its way to its client, a tenth of a step."""
    return {name: as_run(name, seen) for name, seen in sweeps(jitter_s=1e-3).items()}


@pytest.fixture(scope="module")
def profile(runs: dict[str, SeenRun]) -> LlmProfile:
    return profile_of_runs(list(runs.values()), SETTINGS, "swept")


def test_steps_that_decode_come_back(profile: LlmProfile) -> None:
    """Each value of the staircase, with short and with long contexts, although no stair was told to the fit."""
    for requests in (1, 2, 4, 7, 8, 12, 15, 16):
        for context in (20, 80, 500, 1050):
            found_s = profile.table.mean_s(decode_requests=requests, kv_tokens=requests * context)
            assert found_s == pytest.approx(LAW.step_s(0, requests, requests * context), rel=0.005)


def test_prompts_and_overhead_come_back(profile: LlmProfile) -> None:
    """To within what one request decodes in: the pass of no prompt is taken to be as long as its step."""
    decodes_s = LAW.step_s(0, 1, 20) - LAW.base_s
    assert profile.overhead.request_s == pytest.approx(0.004, abs=decodes_s + 1e-3)
    for tokens in (8, 32, 128, 256, 512):
        for past in (0, 512):
            off_s = profile.table.mean_s(tokens, past) - LAW.step_s(tokens, 0, 0)
            assert abs(off_s) < decodes_s + 1e-3, (tokens, past)
    assert profile.table.is_past_measured  # from the prompt of two passes


def test_the_saturated_run_agrees(profile: LlmProfile) -> None:
    require_check(profile)
    assert (profile.check.input_tokens, profile.check.output_tokens) == (200, 50)
    assert checked_rate_rps(profile) == pytest.approx(profile.check.saturated_throughput_rps, rel=0.02)


def test_a_given_overhead_is_taken_off(runs: dict[str, SeenRun], profile: LlmProfile) -> None:
    given = profile_of_runs(list(runs.values()), replace(SETTINGS, request_overhead_s=0.002), "given")
    assert given.overhead.request_s == 0.002
    for step, other in zip(given.steps, profile.steps, strict=True):
        is_first = step.prefill_tokens and not step.prefill_kv_tokens
        later_s = profile.overhead.request_s - 0.002 if is_first else 0.0
        assert step.mean_s == pytest.approx(other.mean_s + later_s, rel=1e-9)
    with pytest.raises(InputError, match="--request-overhead be shorter"):
        profile_of_runs(list(runs.values()), replace(SETTINGS, request_overhead_s=1.0), "too long")


def test_the_error_of_the_steps_is_in_the_profile(profile: LlmProfile) -> None:
    """Drawn again, a step differs by about what its own scatter says."""
    assert has_spread(profile)
    again = [
        resampled_steps(profile, np.random.default_rng(n)).table.mean_s(decode_requests=8, kv_tokens=400)
        for n in range(200)
    ]
    error_s = abs(float(np.mean(again)) - LAW.step_s(0, 8, 400))
    assert 0.0 < float(np.std(again)) < 1e-4
    assert error_s < 5e-5


def test_who_was_only_seen_from_end_to_end_tells_the_same(runs: dict[str, SeenRun]) -> None:
    """As guidellm writes it down."""
    bare = [
        replace(run, has_stamps=False, requests=tuple(replace(one, gaps_s=()) for one in run.requests))
        for run in runs.values()
    ]
    found = profile_of_runs(bare, SETTINGS, "bare")
    for requests in (1, 2, 4, 7, 8, 12, 15, 16):
        found_s = found.table.mean_s(decode_requests=requests, kv_tokens=requests * 50)
        assert found_s == pytest.approx(LAW.step_s(0, requests, requests * 50), rel=0.01)
    require_check(found)
    first = bare[0].requests[0]  # among failures that hide what it waits for
    lone = replace(bare[0], requests=(first,), others_s=((first.start_s, first.last_s),))
    assert profile_of_runs([lone, *bare], SETTINGS, "bare").steps == found.steps


def test_a_neighbour_that_nobody_knows_of_is_not_mixed_in(runs: dict[str, SeenRun]) -> None:
    """A request of which only from when to when it was there is known hides the steps meanwhile."""
    run = runs["short-4"]
    hidden = replace(run, others_s=((run.requests[0].start_s, run.requests[-1].last_s),))
    kept = [one for name, one in runs.items() if name != "short-4"]
    steps = profile_of_runs([*kept, hidden], SETTINGS, "hidden").steps
    assert 4 not in {step.decode_requests for step in steps if step.context < 100}


Change = Callable[[dict[str, SeenRun]], list[SeenRun]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda runs: [runs["prompts"]], "no run has a step in which requests decode"),
        (
            lambda runs: [run for name, run in runs.items() if not name.startswith("long")],
            "both with short and with long contexts",
        ),
        (lambda runs: [runs["short-16"], runs["long-16"]], "no prompt was computed alone"),
        (
            lambda runs: [run for name, run in runs.items() if not name.endswith("-16")],
            "no step was measured with more than 15 decoding requests",
        ),
        (
            lambda runs: [as_run("p", closed_loop([(8, 1), (64, 1)], 1)), runs["short-16"], runs["long-16"], runs["long-8"]],
            "no step was measured with more than",
        ),
        (lambda runs: [*runs.values(), runs["saturated"]], "saturated and saturated both have more than the 16"),
        (
            lambda runs: [*(run for name, run in runs.items() if name != "saturated"), as_run("few", closed_loop([(9, 9)] * 63, 32))],
            "few is the saturated run, and has 63 requests; send at least 4 times the 16",
        ),
        (
            lambda runs: [*(run for name, run in runs.items() if name != "saturated"), as_run("odd", closed_loop([(9, 9), (99, 9)] * 40, 32))],
            "odd is the saturated run, and its lengths vary by 83 %",
        ),
    ],
)  # fmt: skip
def test_sweeps_that_do_not_tell_are_refused(runs: dict[str, SeenRun], change: Change, said: str) -> None:
    with pytest.raises(InputError) as refused:
        profile_of_runs(change(runs), SETTINGS, "refused")
    assert said in str(refused.value)


def test_a_corrupted_saturated_run_is_refused_with_numbers(runs: dict[str, SeenRun]) -> None:
    """As of an engine that computes something that the sweeps did not see: a tenth longer all along."""
    slower = tuple(
        replace(
            one,
            start_s=1.1 * one.start_s,
            first_s=1.1 * one.first_s,
            last_s=1.1 * one.last_s,
            gaps_s=tuple(1.1 * gap_s for gap_s in one.gaps_s),
        )
        for one in runs["saturated"].requests
    )
    others = [run for name, run in runs.items() if name != "saturated"]
    found = profile_of_runs([*others, replace(runs["saturated"], requests=slower)], SETTINGS, "slower")
    found = replace(found, engine=Engine(async_scheduling=False))  # as the engine on paper
    with pytest.raises(
        InputError, match=r"fails its check: its steps give 20.\d rps .* measured 18.\d rps \(\+1\d"
    ):
        require_check(found)


def test_a_check_beyond_the_measured_context_is_refused(runs: dict[str, SeenRun]) -> None:
    others = [run for name, run in runs.items() if name != "saturated"]
    longer = as_run("longer", closed_loop([(2000, 4)] * 64, 32))
    with pytest.raises(
        InputError, match="longer is the saturated run, and its requests of 2004 tokens are longer"
    ):
        profile_of_runs([*others, longer], SETTINGS, "longer")


def test_a_prompt_of_several_passes_needs_the_ones_before(runs: dict[str, SeenRun]) -> None:
    lone = as_run("lone", closed_loop([(1700, 1)] * 3, 1))
    found = profile_of_runs([*runs.values(), lone], SETTINGS, "lone")
    assert found.source["left_out"].startswith("prompts of 1700 tokens, of whose several passes the earlier")
    assert found.table.past[-1] == 512


def test_a_client_that_stalls_is_left_out_and_counted(runs: dict[str, SeenRun], profile: LlmProfile) -> None:
    first, *others = runs["prompts"].requests
    late_s = first.start_s - 1.0
    stalled = replace(first, start_s=late_s, last_s=late_s + 0.9, first_s=late_s + 0.9)
    prompts = replace(runs["prompts"], requests=(stalled, first, *others))
    found = profile_of_runs(
        [prompts, *(run for run in runs.values() if run.name != "prompts")], SETTINGS, "late"
    )
    assert found.source["left_out"] == "1 prompt that took more than 2 times the median of their length"
    assert found.table.mean_s(8) == profile.table.mean_s(8)


@pytest.mark.parametrize(
    ("gaps_s", "tokens", "kept"),
    [
        ([0.1, 0.1], 3, (0.1, 0.1)),
        ([0.001, 0.1, 0.1], 3, (0.101, 0.1)),
        ([0.1, 0.1, 0.001], 3, (0.1, 0.101)),
        ([0.1, 0.1, 0.1, 0.001], 4, (0.1, 0.1, 0.101)),
        ([0.001, 0.1, 0.001, 0.1, 0.1], 4, (0.101, 0.101, 0.1)),
        ([0.1], 3, (0.1,)),  # an event had two tokens
        ([0.1, 0.1, 0.1], 3, ()),  # a chunk had none, and nobody knows which
        ([], 1, ()),
    ],
)
def test_gaps_of_chunks_become_gaps_of_tokens(gaps_s, tokens, kept) -> None:
    assert token_gaps(gaps_s, tokens) == pytest.approx(kept)


def test_a_run_is_valid_or_not_born() -> None:
    one = SeenRequest(input_tokens=4, output_tokens=2, start_s=0.0, first_s=1.0, last_s=2.0, gaps_s=(1.0,))
    assert SeenRun(name="run", requests=(replace(one, start_s=0.5), one)).requests[0] == one
    for others, said in (
        ({"input_tokens": 0}, "input and output tokens"),
        ({"first_s": 3.0}, "is sent, then"),
        (
            {"gaps_s": (0.5, 0.5)},
            "2 output tokens come in at most as many events .*, got 2 events and 2 gaps",
        ),
        ({"gaps_s": (1e-3,)}, "is the unit right"),
    ):
        with pytest.raises(InputError, match=said):
            replace(one, **others)
    with pytest.raises(InputError, match="run has no request"):
        SeenRun(name="run", requests=())


BY_HAND = EngineSettings(kv=KvCache(tokens=1000), sequences_max=2, batched_tokens_max=100)


def seen(
    input_tokens: int, start_s: float, wait_s: float, *gaps_s: float, output_tokens: int | None = None
) -> SeenRequest:
    first_s = start_s + wait_s
    return SeenRequest(
        input_tokens=input_tokens,
        output_tokens=output_tokens or 1 + len(gaps_s),
        start_s=start_s,
        first_s=first_s,
        last_s=first_s + sum(gaps_s),
        gaps_s=() if output_tokens else gaps_s,
    )


SHORT = SeenRun(name="short", requests=(seen(10, 0.0, 0.16, 0.10, 0.12, 0.14, 0.12, 0.13),))
LONG = SeenRun(name="long", requests=(seen(100, 0.0, 0.34, 0.2, 0.2, 0.2, 0.2, 0.2),))


def row(step: StepTiming) -> tuple[float, ...]:
    return (
        step.decode_requests, step.decode_kv_tokens, step.prefill_tokens, step.prefill_kv_tokens, step.mean_s,
    )  # fmt: skip


def test_a_small_sweep_by_hand() -> None:
    """The k-th step of a request reads its prompt and k tokens. A prompt's median and the overhead are below."""
    waits_s = [
        (10, 0.15),
        (10, 0.16),
        (10, 0.40),
        (50, 0.24),
        (100, 0.34),
        (200, 0.60),
        (250, 0.70),
        (450, 2.0),
    ]
    prompts = SeenRun(
        name="prompts",
        requests=tuple(seen(tokens, 10.0 * at, wait_s) for at, (tokens, wait_s) in enumerate(waits_s)),
    )
    found = sweep([SHORT, LONG, prompts], BY_HAND)
    # 10 tokens in 0.16 s and 50 in 0.24 s are 0.14 s for none, of which a step of one request takes 0.12 s.
    assert found.overhead_s == pytest.approx(0.02)
    rows = [
        (1, 13, 0, 0, 0.122),  # of 11 to 15 tokens
        (1, 103, 0, 0, 0.2),
        (0, 0, 10, 0, 0.14),
        (0, 0, 50, 0, 0.22),
        (0, 0, 100, 0, 0.32),
        (0, 0, 100, 100, 0.26),  # 0.60 s less the 0.34 s of the first hundred
        (0, 0, 50, 200, 0.12),  # 0.70 s less 0.60 s is less than any pass takes
    ]
    for step, expected in zip(found.steps, rows, strict=True):
        assert row(step) == pytest.approx(expected)
    short, long, first, second, *_, last = found.steps
    assert [step.count for step in found.steps] == [5, 5, 3, 1, 2, 1, 1]
    deviation_s = statistics.stdev([0.10, 0.12, 0.14, 0.12, 0.13])
    assert (short.p50_s, short.p99_s) == pytest.approx((0.12, 0.12 + 2.326 * deviation_s))
    assert (long.p50_s, long.p99_s) == pytest.approx((0.2, 0.2))
    assert (first.p50_s, first.p99_s) == pytest.approx(
        (0.14, 0.14 + 2.326 * statistics.pstdev([0.15, 0.16, 0.16]))
    )
    assert second.p50_s is last.p50_s is None
    assert found.limits_measured.context_tokens_max == 250
    assert found.check is None
    assert found.source == {
        "decode": "10 steps without prompts, from gaps between tokens",
        "prefill": "9 prompts of 10 to 450 tokens, each alone",
        "overhead": "what the first token of the shortest prompts takes longer than a step of one request",
        "left_out": "1 prompt that took more than 2 times the median of their length; "
        "prompts of 450 tokens, of whose several passes the earlier ones were not measured",
    }


@pytest.mark.parametrize(("short", "overhead_s"), [(256, 0.06), (257, 0.0)])
def test_a_prompt_of_256_tokens_tells_the_overhead(short: int, overhead_s: float) -> None:
    """Both lengths take 0.26 s to the first token; a step of one request takes 0.2 s."""
    runs = [SeenRun(name="run", requests=(seen(n, 0.0, 0.26, *[0.2] * 5),)) for n in (short, 2000)]
    found = sweep(runs, replace(BY_HAND, batched_tokens_max=4000))
    assert found.overhead_s == pytest.approx(overhead_s)
    assert found.source["overhead"].startswith("what the first" if overhead_s else "in the steps of prompts")


def test_two_that_decode_together_read_what_both_have() -> None:
    """Until the shorter has ended: 11 tokens each at first, one more each with every step."""
    pair = SeenRun(name="pair", requests=(seen(10, 0.0, 1.0, 1, 1, 1, 1), seen(10, 0.0, 1.0, 1, 1, 1)))
    found = sweep([pair, SHORT, LONG], BY_HAND)
    (step,) = [step for step in found.steps if step.decode_requests == 2]
    assert row(step) == (2, 24, 0, 0, 1.0)
    assert step.count == 3


def test_a_request_reads_its_whole_context_after_another_has_left() -> None:
    """Alone it reads 11 to 40 tokens, and after a short request has come and gone 43 to 50."""
    run = SeenRun(name="run", requests=(seen(10, 0.0, 1.0, *[1.0] * 40), seen(10, 31.0, 0.5, 1.0)))
    rows = [step for step in sweep([run, SHORT, LONG], BY_HAND).steps if step.mean_s == 1.0]
    alone = [(one.decode_kv_tokens, one.count) for one in rows if one.decode_requests == 1]
    assert alone == [(16, 10), (26, 10), (36, 10), (46, 8)]


@pytest.mark.parametrize(("longer", "is_told"), [(49, True), (48, False)])
def test_contexts_four_times_as_long_tell_what_reading_takes(longer: int, is_told: bool) -> None:
    """The short ones read 13 tokens on average, and 4 times 13 is 52."""
    other = SeenRun(name="longer", requests=(seen(longer, 0.0, 0.34, *[0.2] * 5),))
    if is_told:
        assert sweep([SHORT, other], BY_HAND).steps[1].context == 52
        return
    with pytest.raises(InputError, match=r"\(the longest has 51 tokens\)"):
        sweep([SHORT, other], BY_HAND)


@pytest.mark.parametrize(("others_s", "kept"), [(1.0, True), (1.01, False)])
def test_a_hundredth_of_a_bare_request_may_pass_beside_prompts(others_s: float, kept: bool) -> None:
    """Its 100 steps are 1 s each, in which it reads its prompt and half of what it makes."""
    one = SeenRun(
        name="bare",
        requests=(seen(10, 0.0, 1.0, *[1.0] * 100, output_tokens=101),),
        others_s=((50.0, 50.0 + others_s),),
        has_stamps=False,
    )
    rows = [row(step) for step in sweep([one, SHORT, LONG], BY_HAND).steps if step.mean_s == 1.0]
    assert rows == ([(1, 60, 0, 0, 1.0)] if kept else [])


def test_requests_without_stamps_read_the_mean_context_in_flight() -> None:
    """One alone, a longer one alone, then two together: each reads its prompt and half of its output."""
    one = SeenRun(
        name="bare",
        requests=(
            seen(10, 0.0, 1.0, *[1.0] * 100, output_tokens=101),
            seen(1000, 200.0, 1.0, *[1.0] * 100, output_tokens=101),
            seen(20, 400.0, 1.0, *[1.0] * 100, output_tokens=101),
            seen(30, 400.0, 1.0, *[1.0] * 100, output_tokens=101),
        ),
        has_stamps=False,
    )
    steps = [step for step in sweep([one, SHORT, LONG], BY_HAND).steps if step.mean_s == 1.0]
    assert [(*row(step), step.count) for step in steps] == [
        (1, 60, 0, 0, 1.0, 100),
        (1, 1050, 0, 0, 1.0, 100),
        (2, 151, 0, 0, 1.0, 50),
        (2, 151, 0, 0, 1.0, 50),
    ]


@pytest.mark.parametrize(("share", "kept"), [(0.0999, True), (0.1001, False)])
def test_a_request_without_stamps_may_share_a_tenth_of_its_time(share: float, kept: bool) -> None:
    """The mean square of (requests in flight - 1) may be a tenth; the second request comes late."""
    other = seen(10, 101.0 - 100.0 * share, 0.0, *[2.0] * 100, output_tokens=101)
    run = SeenRun(
        name="bare", requests=(seen(10, 0.0, 1.0, *[1.0] * 100, output_tokens=101), other), has_stamps=False
    )
    steps = [step for step in sweep([run, SHORT, LONG], BY_HAND).steps if step.mean_s == 1.0]
    assert bool(steps) is kept
    assert all(step.decode_requests == 1 for step in steps)


@pytest.mark.parametrize(
    ("steps", "parts"),
    [(16, [8, 8]), (18, [8, 8]), (19, [8, 8, 3]), (31, [8, 8, 8, 7]), (40, [10] * 4), (42, [11, 11, 11, 9])],
)
def test_steps_are_split_into_at_most_four_groups_of_at_least_eight(steps: int, parts: list[int]) -> None:
    """By the tokens they read; a last group of two steps is dropped."""
    run = SeenRun(name="run", requests=(seen(10, 0.0, 0.5, *[0.5] * steps),))
    rows = [step for step in sweep([run, SHORT, LONG], BY_HAND).steps if step.mean_s == 0.5]
    assert [step.count for step in rows if step.decode_requests] == parts
    assert rows[0].decode_kv_tokens == round(11 + (parts[0] - 1) / 2)


@pytest.mark.parametrize(("part", "is_counted"), [(99, False), (100, True)])
def test_a_group_of_100_steps_has_a_counted_p99(part: int, is_counted: bool) -> None:
    """The first step of each group takes 2 s and the others 1 s; smaller groups use the normal law."""
    gaps_s = [2.0 if at % part == 0 else 1.0 for at in range(4 * part)]
    run = SeenRun(name="run", requests=(seen(10, 0.0, 0.5, *gaps_s),))
    rows = [step for step in sweep([run, SHORT, LONG], BY_HAND).steps if step.mean_s > 1.0]
    assert [step.count for step in rows] == [part] * 4
    counted_s = float(np.quantile(gaps_s[:part], 0.99))
    told_s = counted_s if is_counted else 1.0 + 2.326 * statistics.stdev(gaps_s[:part])
    assert [step.p99_s for step in rows] == pytest.approx([told_s] * 4)
    assert [step.p50_s for step in rows] == pytest.approx([1.0] * 4)


@pytest.mark.parametrize(("earlier", "is_told"), [(98, True), (97, False), (100, True), (101, False)])
def test_a_prompt_of_about_one_pass_stands_for_the_first_pass_of_longer_ones(earlier, is_told) -> None:
    """A pass holds 100 tokens, so a prompt of 150 has 50 in its second pass."""
    prompts = SeenRun(name="prompts", requests=(seen(earlier, 0.0, 0.5), seen(150, 9.0, 0.9)))
    short = replace(SHORT, requests=(seen(10, 0.0, 0.16, *[0.12] * 5),))
    long = replace(LONG, requests=(seen(60, 0.0, 0.34, *[0.2] * 5),))
    rows = [step for step in sweep([short, long, prompts], BY_HAND).steps if step.prefill_kv_tokens == 100]
    assert [row(step)[2:] for step in rows if step.prefill_tokens == 50] == (
        [pytest.approx((50, 100, 0.4))] if is_told else []
    )


def test_neighbouring_lengths_are_grouped_where_a_table_cannot_hold_all() -> None:
    """66 prompts, of 1 to 64, 10 and 100 tokens, make 32 groups in order; the longest stands alone."""
    prompts = tuple(seen(n, 10.0 * n, 0.2 + 0.001 * n) for n in range(1, 65))
    short = SeenRun(name="short", requests=(seen(10, 0.0, 0.21, *[0.12] * 5),))
    long = SeenRun(name="long", requests=(seen(100, 0.0, 0.3, *[0.2] * 5),))
    settings = replace(BY_HAND, request_overhead_s=0.0)
    found = sweep([short, long, SeenRun(name="prompts", requests=prompts)], settings)
    rows = {step.prefill_tokens: (step.count, step.mean_s) for step in found.steps if step.prefill_tokens}
    pairs = {n: (2, pytest.approx(0.2005 + 0.001 * n)) for n in range(12, 64, 2)}
    assert rows == {
        2: (3, pytest.approx(0.202)),
        5: (3, pytest.approx(0.205)),
        8: (2, pytest.approx(0.2075)),
        10: (4, pytest.approx(0.21)),  # 9 and 10, and 10 and 11
        **pairs,
        82: (2, pytest.approx(0.282)),
        100: (1, pytest.approx(0.3)),
    }


@pytest.mark.parametrize(("longest_s", "kept"), [(0.4, 3), (0.41, 2)])
def test_a_prompt_beyond_twice_the_median_is_a_stall(longest_s: float, kept: int) -> None:
    waits_s = (0.2, 0.2, longest_s)
    requests = tuple(seen(50, 10.0 * at, wait_s) for at, wait_s in enumerate(waits_s))
    found = sweep([SHORT, LONG, SeenRun(name="prompts", requests=requests)], BY_HAND)
    (step,) = [step for step in found.steps if step.prefill_tokens == 50]
    assert step.count == kept


def test_at_most_five_lengths_left_out_are_named() -> None:
    lengths = (150, 250, 350, 450, 550, 650)
    prompts = tuple(seen(tokens, 10.0 * at, 1.0 + tokens) for at, tokens in enumerate(lengths))
    long = replace(LONG, requests=(seen(60, 0.0, 0.34, *[0.2] * 5),))
    runs = [SHORT, long, *(SeenRun(name="p", requests=(one,)) for one in prompts)]
    told = sweep(runs, BY_HAND).source["left_out"]
    assert told.startswith("prompts of 150, 250, 350, 450, 550 tokens, of whose several passes")


@pytest.mark.parametrize(("clients", "median_s"), [(16, 0.005), (17, 0.05), (33, 0.01)])
def test_a_step_ends_at_the_median_of_at_most_16_clients(clients: int, median_s: float) -> None:
    """Every second client gets its third token late; of 17 clients only these count, of 33 every third."""

    def late_s(at: int) -> float:
        return 0.01 * (at // 2 + 1) if at % 2 == 0 else 0.0

    requests = tuple(
        seen(10, 0.0, 1.0, 1.0, 1.0 + late_s(at), 1.0 - late_s(at), 1.0) for at in range(clients)
    )
    run = SeenRun(name="run", requests=requests)
    settings = replace(BY_HAND, sequences_max=64, request_overhead_s=0.0)
    (step,) = [one for one in sweep([run, SHORT, LONG], settings).steps if one.decode_requests == clients]
    assert step.p99_s is not None
    spread_s = statistics.stdev([1.0, 1.0 + median_s, 1.0 - median_s, 1.0])
    assert step.p99_s == pytest.approx(1.0 + 2.326 * spread_s)


def saturated(ends_s: Sequence[float], inputs: Sequence[int] = (100,), output_tokens: int = 10) -> SeenRun:
    return SeenRun(
        name="full",
        has_stamps=False,
        requests=tuple(
            SeenRequest(
                input_tokens=inputs[at % len(inputs)],
                output_tokens=output_tokens,
                start_s=0.0,
                first_s=end_s,
                last_s=end_s,
            )
            for at, end_s in enumerate(ends_s)
        ),
    )


ENDS_S = (1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 9.0, 10.0)


def test_a_saturated_run_counts_from_the_end_of_its_first_wave_to_the_begin_of_its_last() -> None:
    """Four of eight requests end after 2 s and by 8 s. Lengths may vary by 5 %, as 95 and 105 do."""
    found = saturation_check(saturated(ENDS_S, (95, 105)), BY_HAND, 110)
    assert found.saturated_throughput_rps == pytest.approx(4 / 6)
    assert (found.input_tokens, found.output_tokens) == (100, 10)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (saturated(ENDS_S[:7]), "has 7 requests; send at least 4 times the 2"),
        (saturated(ENDS_S, (94, 106)), "its lengths vary by 6 %"),
        (saturated([3.0] * 8), "all its requests end at once"),
        (saturated(ENDS_S, (101,)), "of 111 tokens are longer than the 110"),
    ],
)
def test_a_saturated_run_that_tells_nothing_is_refused(run: SeenRun, said: str) -> None:
    with pytest.raises(InputError, match=said):
        saturation_check(run, BY_HAND, 110)


def test_a_run_has_a_limited_number_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.profile.llm_runs.REQUESTS_MAX", 3)
    two = SHORT.requests * 2
    assert len(SeenRun(name="run", requests=two, others_s=((0.0, 1.0),)).requests) == 2
    with pytest.raises(InputError, match="run has more than 3 requests; send fewer"):
        SeenRun(name="run", requests=two, others_s=((0.0, 1.0), (0.0, 1.0)))


DRAFTED = Speculation(draft_tokens=2, acceptance_rates=(0.75, 0.25), in_steps=True)


def drafted(tokens: int, *gaps_s: float, got: int) -> SeenRequest:
    """A request whose tokens come together, in fewer gaps than it has tokens."""
    last_s = 0.16 + sum(gaps_s)
    return SeenRequest(
        input_tokens=tokens, output_tokens=got, start_s=0.0, first_s=0.16, last_s=last_s, gaps_s=gaps_s
    )  # fmt: skip


def test_steps_of_an_engine_that_drafts_are_the_gaps_between_events() -> None:
    """Nine tokens after the first in five gaps: each step reads 1.8 tokens more, and what was accepted is averaged."""
    short = SeenRun(
        name="short", requests=(drafted(10, 0.10, 0.12, 0.14, 0.12, 0.12, got=10),), speculation=DRAFTED
    )
    long = SeenRun(
        name="long",
        requests=(drafted(100, *[0.2] * 15, got=31),),
        speculation=replace(DRAFTED, acceptance_rates=(0.55, 0.45)),
    )
    prompts = SeenRun(
        name="prompts",
        requests=tuple(seen(tokens, 10.0 * at, 0.16) for at, tokens in enumerate((10, 10, 10, 512))),
    )
    found = sweep([short, long, prompts], BY_HAND)
    first = next(step for step in found.steps if step.decode_requests)
    assert first.mean_s == pytest.approx(0.12)
    assert 10 <= first.decode_kv_tokens <= 20
    assert found.speculation is not None
    assert (found.speculation.draft_tokens, found.speculation.in_steps) == (2, True)
    assert found.speculation.rates == pytest.approx((0.6, 0.4))
    with pytest.raises(InputError, match="1 of 2 runs say what the server drafted"):
        sweep([SHORT, long, prompts], BY_HAND)
