"""Arrivals: the rate and the law of the gaps, scaling, and streams that know nothing of each other.

Statistical tests have fixed seeds; a mean of n gaps has the standard error cv/√n, and 4 of them are
exceeded once in 16,000 seeds.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from capacity.errors import DomainError, InputError
from capacity.profile.profile import Spells
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    RenewalArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)
from simulations.draws.arrivals import (
    Draws,
    Purpose,
    Replay,
    Seed,
    Stage,
    Stream,
    draw,
)
from simulations.draws.kept import Kept

COUNT = 40_000
SE = 4.0


def gaps_of(arrivals: ArrivalProcess, rate_rps: float = 1.0, seed: int = 1) -> np.ndarray:
    """Gaps of one stream, the first from the origin."""
    draws = draw(Workload(arrival_rate_rps=rate_rps, arrivals=arrivals), COUNT, Seed(value=seed))
    return np.diff(draws.arrived_s, prepend=0.0)


@pytest.mark.parametrize("rate_rps", [0.02, 1.0, 30_000.0])
@pytest.mark.parametrize("cv", [0.2, 0.5, 1.0, 3.0])
def test_gamma_gaps_have_the_rate_and_the_cv(rate_rps: float, cv: float) -> None:
    gaps_s = gaps_of(GammaArrivals(cv=cv), rate_rps)
    assert gaps_s.mean() * rate_rps == pytest.approx(1.0, abs=SE * cv / math.sqrt(COUNT))
    kurtosis_excess = 6.0 * cv**2  # of a gamma law of shape 1/cv²
    variance_error = cv**2 * math.sqrt((kurtosis_excess + 2.0) / COUNT)
    assert (gaps_s * rate_rps).var() == pytest.approx(cv**2, abs=SE * variance_error)


@pytest.mark.parametrize("seed", range(5))
def test_poisson_gaps_are_exponential(seed: int) -> None:
    assert stats.kstest(gaps_of(PoissonArrivals(), 3.0, seed), "expon", args=(0.0, 1 / 3.0)).pvalue > 1e-3


def test_gamma_gaps_are_gamma_and_those_of_cv_1_exponential() -> None:
    assert stats.kstest(gaps_of(GammaArrivals(cv=2.0)), "gamma", args=(0.25, 0.0, 4.0)).pvalue > 1e-3
    assert stats.kstest(gaps_of(GammaArrivals(cv=1.0)), "expon").pvalue > 1e-3


def test_poisson_gaps_are_independent() -> None:
    """The lag-1 correlation of n independent gaps has the standard error 1/√n."""
    gaps_s = gaps_of(PoissonArrivals())
    assert abs(np.corrcoef(gaps_s[1:], gaps_s[:-1])[0, 1]) < SE / math.sqrt(COUNT)


def test_deterministic_gaps_are_equal() -> None:
    draws = draw(Workload(arrival_rate_rps=4.0, arrivals=DeterministicArrivals()), 5, Seed(value=0))
    assert draws.arrived_s.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25]


def test_a_trace_comes_back_at_its_own_rate() -> None:
    trace = TraceArrivals(instants_s=(100.0, 100.5, 100.5, 103.0))
    assert trace.rate_rps == 1.0
    draws = draw(Workload(arrival_rate_rps=1.0, arrivals=trace), 4, Seed(value=0))
    assert draws.arrived_s.tolist() == [0.0, 0.5, 0.5, 3.0]


@given(st.lists(st.floats(0.0, 1e3), min_size=2, max_size=50), st.floats(1e-3, 1e3), st.floats(-1e6, 1e6))
@settings(derandomize=True, deadline=None)
def test_a_trace_is_scaled_to_the_rate(gaps: list[float], rate_rps: float, origin_s: float) -> None:
    instants_s = tuple(itertools.accumulate(gaps, initial=origin_s))
    if not instants_s[-1] - instants_s[0] > 1e-3:
        return
    trace = TraceArrivals(instants_s=instants_s)
    arrived_s = draw(Workload(arrival_rate_rps=rate_rps, arrivals=trace), 1, Seed(value=0)).arrived_s
    assert len(arrived_s) == len(instants_s)
    assert arrived_s[0] == 0.0
    assert (len(arrived_s) - 1) / arrived_s[-1] == pytest.approx(rate_rps)
    expected_s = (np.array(instants_s) - origin_s) * trace.rate_rps / rate_rps
    assert arrived_s == pytest.approx(expected_s, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("arrivals", [PoissonArrivals(), GammaArrivals(cv=0.3), DeterministicArrivals()])
def test_a_longer_run_begins_as_the_shorter_one(arrivals: ArrivalProcess) -> None:
    workload = Workload(arrival_rate_rps=2.0, arrivals=arrivals)
    short, long = (draw(workload, requests, Seed(value=5)) for requests in (100, 1000))
    assert np.array_equal(short.arrived_s, long.arrived_s[:100])
    assert np.array_equal(short.service, long.service[:100])
    assert np.array_equal(short.routing, long.routing[:200])


def test_shapes_and_ranges_of_the_draws() -> None:
    draws = draw(Workload(arrival_rate_rps=2.0), 1000, Seed(value=5))
    assert (draws.arrived_s.shape, draws.service.shape, draws.routing.shape) == ((1000,), (1000,), (2000,))
    for uniforms in (draws.service, draws.routing):
        assert stats.kstest(uniforms, "uniform").pvalue > 1e-3
        assert uniforms.min() >= 0.0
        assert uniforms.max() < 1.0


def test_every_purpose_stage_replication_and_seed_has_a_stream_of_its_own() -> None:
    streams = {
        (value, stage, replication, purpose): tuple(
            Seed(value=value, stage=stage, replication=replication).generator(purpose).random(3)
        )
        for value in (0, 1, 2)
        for stage in Stage
        for replication in (0, 1, 2)
        for purpose in Purpose
    }
    assert len(set(streams.values())) == len(streams) == 3 * len(Stage) * 3 * len(Purpose)


def test_streams_are_not_correlated() -> None:
    """The correlation of n independent pairs has the standard error 1/√n; of 741 pairs none is at 4.5."""
    seeds = [Seed(value=9, stage=stage) for stage in (Stage.SEARCH, Stage.CERTIFY, Stage.HEADROOM)]
    streams = [seed.generator(purpose).random(COUNT) for seed in seeds for purpose in Purpose]
    correlations = np.corrcoef(streams)[np.triu_indices(len(streams), k=1)]
    assert len(correlations) == 741
    assert np.abs(correlations).max() < 4.5 / math.sqrt(COUNT)


def test_the_same_seed_gives_the_same_stream() -> None:
    one, other = (Seed(value=4).generator(Purpose.SERVICE).random(5) for _ in range(2))
    assert np.array_equal(one, other)


def test_a_run_that_lasts_too_long_is_refused() -> None:
    workload = Workload(arrival_rate_rps=1e-307)
    with (
        pytest.raises(InputError, match="a run of 100 requests at 1e-307 rps lasts too long"),
        np.errstate(over="ignore"),
    ):
        draw(workload, 100, Seed(value=0))


def test_think_times_are_exponential_and_belong_to_requests() -> None:
    population = ClosedPopulation(users=3, think_time_s=2.0)
    draws, few = (draw(population, requests, Seed(value=5)) for requests in (COUNT, 10))
    assert draws.users == 3
    assert stats.kstest(draws.think_s, "expon", args=(0.0, 2.0)).pvalue > 1e-3
    assert (draws.service.shape, draws.routing.shape) == ((COUNT,), (2 * COUNT,))
    assert few.think_s.tolist() == draws.think_s[:10].tolist()
    open_draws = draw(Workload(arrival_rate_rps=1.0), COUNT, Seed(value=5))
    assert np.array_equal(draws.service, open_draws.service)
    assert np.array_equal(draws.routing, open_draws.routing)


def test_users_who_do_not_think_ask_again_at_once() -> None:
    assert not draw(ClosedPopulation(users=3), 10, Seed(value=5)).think_s.any()


@pytest.mark.parametrize("users", [0, -1, 2.0, True])
def test_a_population_has_a_whole_number_of_users(users: int) -> None:
    with pytest.raises(DomainError, match=f"users must be a whole number >= 1, got {users}"):
        ClosedPopulation(users=users)


@pytest.mark.parametrize("think_time_s", [-1.0, math.inf, math.nan])
def test_a_think_time_is_a_finite_duration(think_time_s: float) -> None:
    with pytest.raises(DomainError, match="think_time_s must be >= 0 and finite"):
        ClosedPopulation(users=1, think_time_s=think_time_s)


BURSTY = MmppArrivals(ratio=5.0, burst_mean_s=2.0, calm_mean_s=6.0)


def bursts_of(arrivals: MmppArrivals, rate_rps: float, requests: int, seed: int = 1) -> np.ndarray:
    return draw(Workload(arrival_rate_rps=rate_rps, arrivals=arrivals), requests, Seed(value=seed)).arrived_s


@pytest.mark.parametrize("rate_rps", [0.3, 3.0, 30.0])
def test_bursts_have_the_rate_and_the_dispersion_at_every_window(rate_rps: float) -> None:
    """The mean of a long count varies by the index of dispersion; that of n counts by about √(2/n)."""
    arrived_s = bursts_of(BURSTY, rate_rps, int(60_000 * rate_rps))
    spread = math.sqrt(BURSTY.dispersion_index(rate_rps) / len(arrived_s))
    assert len(arrived_s) / arrived_s[-1] == pytest.approx(rate_rps, rel=SE * spread)
    for window_s in (0.5, 3.0, 40.0):
        windows = int(arrived_s[-1] / window_s)
        counts = np.histogram(arrived_s, bins=windows, range=(0.0, windows * window_s))[0]
        expected = BURSTY.dispersion_index(rate_rps, window_s)
        # Counts depend on those of the same burst: fewer of them are independent.
        independent = windows / (1.0 + 2.0 / (window_s * BURSTY.switching_per_s))
        kurtosis = stats.kurtosis(counts)
        error = SE * math.sqrt((2.0 + kurtosis) / independent)
        assert error < 0.35
        assert counts.var() / counts.mean() == pytest.approx(expected, rel=error)


def test_gaps_of_bursts_have_the_law_of_the_cookbook() -> None:
    """The cv of the gap: Fischer & Meier-Hellstern (1993), Performance Evaluation 18(2), 149-171."""
    rate_rps = 3.0
    burst_rps, calm_rps = BURSTY.rates_rps(rate_rps)
    out, back = 1.0 / BURSTY.burst_mean_s, 1.0 / BURSTY.calm_mean_s
    contrast = (burst_rps - calm_rps) ** 2 * out * back / (out + back) ** 2
    cv = math.sqrt(1.0 + 2.0 * contrast / (burst_rps * calm_rps + (out + back) * rate_rps))
    gaps_s = np.diff(bursts_of(BURSTY, rate_rps, 400_000))
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_bursts_are_a_unit_poisson_process_read_off_a_broken_line(seed: int) -> None:
    """Another road over 6000 phases: what is due at the end of each, and the instants in between."""
    arrivals, rate_rps = MmppArrivals(ratio=7.0, burst_mean_s=0.2, calm_mean_s=0.5), 3.0
    clock = Seed(value=seed).generator(Purpose.PHASES)
    first = 0 if clock.random() < 0.2 / 0.7 else 1
    lengths_s = clock.standard_exponential(6000) * np.resize([(0.2, 0.5), (0.5, 0.2)][first], 6000)
    burst_rps, calm_rps = arrivals.rates_rps(rate_rps)
    speeds = np.resize([(burst_rps, calm_rps), (calm_rps, burst_rps)][first], 6000)
    edges_s, due = (np.cumsum([0.0, *x]) for x in (lengths_s, lengths_s * speeds))
    requests = int(0.9 * due[-1])
    unit = np.cumsum(Seed(value=seed).generator(Purpose.ARRIVALS).standard_exponential(requests))
    assert bursts_of(arrivals, rate_rps, requests, seed) == pytest.approx(
        np.interp(unit, due, edges_s), rel=1e-9
    )


def test_bursts_begin_in_their_steady_state() -> None:
    """The first second of many streams has the mean rate; streams that began calm had half of it."""
    rate_rps, streams = 2.0, 4000
    seen = [int(np.searchsorted(bursts_of(BURSTY, rate_rps, 40, seed), 1.0)) for seed in range(streams)]
    error = math.sqrt(BURSTY.dispersion_index(rate_rps, 1.0) * rate_rps / streams)
    assert np.mean(seen) == pytest.approx(rate_rps, abs=SE * error)
    assert error < 0.05
    assert np.var(seen) / np.mean(seen) == pytest.approx(BURSTY.dispersion_index(rate_rps, 1.0), rel=0.15)


def test_bursts_come_at_the_same_times_whatever_the_rate() -> None:
    """Durations are by the wall clock: of a tenfold rate the tenfold number comes by any instant."""
    slow, fast = bursts_of(BURSTY, 100.0, 20_000), bursts_of(BURSTY, 1000.0, 200_000)
    until_s = 0.9 * min(slow[-1], fast[-1])
    instants_s = np.linspace(1.0, until_s, 50)
    few, many = np.searchsorted(slow, instants_s), np.searchsorted(fast, instants_s)
    assert np.abs(many / 10.0 - few).max() < SE * math.sqrt(1.1 * few[-1])
    assert few[-1] > 10_000


def test_bursts_of_a_hair_are_poisson_and_nearly_so_when_they_flicker() -> None:
    still = MmppArrivals(ratio=1.0 + 1e-9, burst_mean_s=2.0, calm_mean_s=6.0)
    poisson = draw(Workload(arrival_rate_rps=3.0), 5000, Seed(value=1)).arrived_s
    assert bursts_of(still, 3.0, 5000) == pytest.approx(poisson, rel=1e-8)
    flicker = MmppArrivals(ratio=5.0, burst_mean_s=0.001, calm_mean_s=0.003)
    gaps_s = np.diff(bursts_of(flicker, 3.0, COUNT))
    assert stats.kstest(gaps_s, "expon", args=(0.0, 1.0 / 3.0)).pvalue > 1e-3


DEMANDS = {
    "poisson": Workload(arrival_rate_rps=3.0),
    "deterministic": Workload(arrival_rate_rps=3.0, arrivals=DeterministicArrivals()),
    "regular": Workload(arrival_rate_rps=3.0, arrivals=GammaArrivals(cv=0.3)),
    "bursty": Workload(arrival_rate_rps=3.0, arrivals=GammaArrivals(cv=2.5)),
    "switched": Workload(arrival_rate_rps=3.0, arrivals=MmppArrivals(ratio=9.0, burst_mean_s=2.0, calm_mean_s=5.0)),
    "switched often": Workload(
        arrival_rate_rps=3.0, arrivals=MmppArrivals(ratio=9.0, burst_mean_s=0.002, calm_mean_s=0.005)
    ),
    "trace": Workload(
        arrival_rate_rps=3.0,
        arrivals=TraceArrivals(instants_s=tuple(0.1 * round(number**1.3) for number in range(150))),
    ),
    "closed": ClosedPopulation(users=3, think_time_s=0.7),
    "surging": Workload(arrival_rate_rps=3.0, arrivals=SurgingArrivals(base=PoissonArrivals(), before=37, factor=2.5)),
    "surging regular": Workload(
        arrival_rate_rps=3.0, arrivals=SurgingArrivals(base=GammaArrivals(cv=0.5), before=40, factor=3.0)
    ),
    "surging metronome": Workload(
        arrival_rate_rps=3.0, arrivals=SurgingArrivals(base=DeterministicArrivals(), before=1, factor=4.0)
    ),
}  # fmt: skip
ALL = 150  # requests


def in_pieces(stream: Stream | Replay, column: str, pieces: list[int]) -> np.ndarray:
    """One column of a stream, a number of requests at a time, and the rest at last."""
    parts, left = [], stream.requests
    for count in [*pieces, ALL]:
        if left:
            parts.append(getattr(stream, column)(min(count, left)))
            left -= min(count, left)
    return np.concatenate(parts)


@pytest.mark.parametrize("demand", DEMANDS)
@given(st.lists(st.integers(1, 40), max_size=8))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_stream_in_pieces_is_the_draws_at_once_to_the_last_bit(demand: str, pieces: list[int]) -> None:
    seed = Seed(value=6)
    draws = draw(DEMANDS[demand], ALL, seed)
    columns = ["service", "routing", "arrived_s" if isinstance(draws, Draws) else "think_s"]
    stream, replay = Stream(DEMANDS[demand], ALL, seed), Replay(draws)
    assert (stream.requests, stream.users) == (replay.requests, replay.users)
    for column in columns:
        whole = getattr(draws, column)
        assert in_pieces(stream, column, pieces).tobytes() == whole.tobytes()
        assert in_pieces(replay, column, pieces).tobytes() == whole.tobytes()


@pytest.mark.parametrize("before", [1, 2, 37, ALL - 1, ALL, ALL + 5])
@pytest.mark.parametrize("base", [PoissonArrivals(), GammaArrivals(cv=0.3), DeterministicArrivals()])
def test_a_surge_shortens_every_gap_after_so_many_arrivals(base: RenewalArrivals, before: int) -> None:
    """The same users: until then at the rate, from then on at its multiple."""
    steady, surging = (
        np.diff(draw(Workload(arrival_rate_rps=3.0, arrivals=one), ALL, Seed(value=6)).arrived_s, prepend=0.0)
        for one in (base, SurgingArrivals(base=base, before=before, factor=2.5))
    )
    assert surging[:before] == pytest.approx(steady[:before], rel=1e-12)
    assert surging[before:] == pytest.approx(steady[before:] / 2.5, rel=1e-9)


def test_the_rate_of_a_surge_is_that_of_the_base_and_then_its_multiple() -> None:
    gaps_s = gaps_of(SurgingArrivals(base=PoissonArrivals(), before=COUNT // 2, factor=5.0), 2.0)
    first, then = gaps_s[: COUNT // 2], gaps_s[COUNT // 2 :]
    assert first.mean() == pytest.approx(0.5, rel=SE / math.sqrt(COUNT / 2))
    assert then.mean() == pytest.approx(0.1, rel=SE / math.sqrt(COUNT / 2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"before": 0}, "before must be >= 1, got 0"),
        ({"factor": 0.0}, "factor must be positive and finite, got 0.0"),
        ({"factor": math.inf}, "factor must be positive and finite, got inf"),
        ({"factor": math.nan}, "factor must be positive and finite, got nan"),
    ],
)
def test_a_surge_out_of_range_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        SurgingArrivals(**{"base": PoissonArrivals(), "before": 3, "factor": 2.0, **fields})


@pytest.mark.parametrize("phases", range(1, 7))
def test_erlang_gaps_are_means_of_exponentials_however_the_stream_is_cut(phases: int) -> None:
    """Mean 1 and scv 1/k; the phases are drawn in a row."""
    arrivals, seed = GammaArrivals(cv=1.0 / math.sqrt(phases)), Seed(value=7)
    workload = Workload(arrival_rate_rps=1.0, arrivals=arrivals)
    arrived_s = draw(workload, COUNT, seed).arrived_s
    gaps_s = np.diff(arrived_s, prepend=0.0)
    variance, kurtosis_excess = 1.0 / phases, 6.0 / phases
    assert gaps_s.mean() == pytest.approx(1.0, abs=SE * math.sqrt(variance / COUNT))
    assert gaps_s.var() == pytest.approx(
        variance, abs=SE * variance * math.sqrt((kurtosis_excess + 2.0) / COUNT)
    )
    assert stats.kstest(gaps_s, "gamma", args=(float(phases), 0.0, 1.0 / phases)).pvalue > 1e-3
    exponentials = seed.generator(Purpose.ARRIVALS).standard_exponential(COUNT * phases)
    assert gaps_s == pytest.approx(exponentials.reshape(COUNT, phases).mean(axis=1), abs=1e-9)
    stream = Stream(workload, COUNT, seed)
    pieces = [stream.arrived_s(count) for count in (1, 2, 997, COUNT - 1000)]
    assert np.concatenate(pieces).tobytes() == arrived_s.tobytes()


def test_columns_that_nobody_asks_for_change_no_other() -> None:
    """Service after arrivals, and service alone: each purpose has a stream of its own."""
    one, other = (Stream(DEMANDS["bursty"], ALL, Seed(value=6)) for _ in range(2))
    one.arrived_s(100), one.routing(20)
    assert np.array_equal(one.service(ALL), other.service(ALL))


def test_a_trace_is_as_long_as_it_is() -> None:
    assert Stream(DEMANDS["trace"], 10, Seed(value=6)).requests == 150


def test_what_a_piece_is_given_may_be_written_over() -> None:
    """The kernel works in place; a replay and a trace stay as they are."""
    draws = draw(DEMANDS["trace"], ALL, Seed(value=6))
    replay, before = Replay(draws), draws.arrived_s.copy()
    replay.arrived_s(50)[:] = -1.0
    assert np.array_equal(draws.arrived_s, before)
    assert np.array_equal(replay.arrived_s(100), before[50:])


def test_a_stream_is_not_asked_for_what_it_has_not() -> None:
    with pytest.raises(DomainError, match="users ask when they have thought"):
        Stream(DEMANDS["closed"], ALL, Seed(value=6)).arrived_s(1)
    with pytest.raises(DomainError, match="arrivals at a rate do not think"):
        Stream(DEMANDS["poisson"], ALL, Seed(value=6)).think_s(1)


def test_service_in_spells_is_drawn_for_the_last_instants() -> None:
    stream = Stream(Workload(arrival_rate_rps=3.0), 100, Seed(value=1), Spells(share=0.5, lasting_s=2.0))
    stream.arrived_s(10)
    with pytest.raises(DomainError, match="the very requests whose instants were drawn last"):
        stream.service(9)
    assert stream.service(10).shape == (10,)


def test_service_of_a_closed_loop_has_no_spells() -> None:
    """Its users have no instants of arrival before they are served."""
    spells = Spells(share=0.5, lasting_s=2.0)
    users = ClosedPopulation(users=2, think_time_s=1.0)
    with_spells, without = (draw(users, 50, Seed(value=1), one) for one in (spells, None))
    assert np.array_equal(with_spells.service, without.service)


def test_a_replay_fills_a_given_array() -> None:
    draws = draw(DEMANDS["trace"], ALL, Seed(value=6))
    room = np.full(2, 9.0)
    replay = Replay(draws)
    assert replay.arrived_s(2, room) is room
    assert np.array_equal(room, draws.arrived_s[:2])
    assert replay.arrived_s(1) == draws.arrived_s[2]


def test_longer_and_longer_runs_seldom_draw_their_numbers_again() -> None:
    """Each cell of a sweep may need a few more than the last, so what is held is drawn again with some to spare."""
    kept, drawn = Kept(bytes_max=1 << 20), []

    def draw_first(count: int) -> np.ndarray:
        drawn.append(count)
        return np.arange(float(count))

    for count in (1000, 1001, 1100, 1126, 900):
        assert kept.first("one", count, draw_first).tolist() == list(range(count))
    assert drawn == [1000, 1126]
