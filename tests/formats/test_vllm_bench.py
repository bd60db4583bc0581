"""Results of `vllm bench serve`, as the engine on paper writes them; nothing here is a file of vLLM's own."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_on_paper import as_vllm_bench, closed_loop

from capacity.errors import InputError
from capacity.evidence.audit import check_run
from capacity.evidence.finding import Belief
from capacity.formats.load_test import LoadRun, Loop
from capacity.formats.registry import Kind, format_of, read
from capacity.formats.vllm_bench import _COLUMNS, Document, recognises
from capacity.profile.llm_runs import SeenRun

SEEN = closed_loop([(16, 5), (40, 1), (16, 3)], 2)
# Written here by the fields of vLLM 0.33's benchmarks/serve.py, without --save-detailed and with e2el.
TOTALS: dict[str, Any] = {
    "date": "20260101-000000",
    "endpoint_type": "openai",
    "backend": "openai",
    "label": None,
    "model_id": "on-paper",
    "tokenizer_id": "on-paper",
    "num_prompts": 1000,
    "request_rate": 10.0,
    "burstiness": 1.0,
    "max_concurrency": None,
    "duration": 102.0,
    "completed": 1000,
    "failed": 0,
    "total_input_tokens": 512_000,
    "total_output_tokens": 101_000,
    "request_throughput": 9.804,
    "request_goodput": None,
    "output_throughput": 990.2,
    "total_token_throughput": 6009.8,
    "max_output_tokens_per_s": 1400.0,
    "max_concurrent_requests": 41,
    **{f"{one}_ttft_ms": ms for one, ms in {"mean": 80.0, "median": 60.0, "std": 50.0, "p99": 300.0}.items()},
    **{f"{one}_tpot_ms": ms for one, ms in {"mean": 19.2, "median": 19.0, "std": 1.0, "p99": 25.0}.items()},
    **{f"{one}_itl_ms": ms for one, ms in {"mean": 19.2, "median": 18.0, "std": 9.0, "p99": 60.0}.items()},
}
E2EL = {
    "mean_e2el_ms": 2000.0,
    "median_e2el_ms": 1900.0,
    "std_e2el_ms": 400.0,
    "p99_e2el_ms": 3000.0,
    "p99.9_e2el_ms": 3300.0,
}
EXAMPLES = {"result": as_vllm_bench(SEEN), "totals": TOTALS, "responses": TOTALS | E2EL}


def totals(folder: Path, **others: Any) -> LoadRun:
    path = folder / "result.txt"
    path.write_text(json.dumps(TOTALS | others))
    (run,) = read(path, Kind.LOAD_TEST).runs
    assert isinstance(run, LoadRun)
    return run


def test_without_responses_the_first_token_is_audited(tmp_path: Path) -> None:
    run = totals(tmp_path)
    assert (run.name, run.mean_s) == ("time to first token", None)
    assert {q: one.value for q, one in run.quantiles_s.items()} == {0.5: 0.06, 0.99: 0.3}
    assert run.rate_sent_rps == pytest.approx(10.0, rel=1e-3)  # a response is 80 ms and 100 times 19.2 ms
    one = {one.check: one.belief for one in check_run(run)}
    assert (one["generator"], one["samples"], one["failures"]) == (Belief.HOLDS, Belief.HOLDS, Belief.HOLDS)


def test_a_server_that_falls_behind_and_requests_that_fail_are_told(tmp_path: Path) -> None:
    slow = check_run(totals(tmp_path, request_throughput=4.9, duration=204.0))
    assert {one.belief for one in slow if one.check == "generator"} == {Belief.BROKEN}
    failed = check_run(totals(tmp_path, completed=900, failed=100))
    assert {one.belief for one in failed if one.check == "failures"} == {Belief.BROKEN}
    path = tmp_path / "detailed.json"  # with single requests too, of which one failed
    path.write_text(json.dumps(TOTALS | as_vllm_bench(SEEN) | {"errors": ["", "refused", ""]}))
    assert read(path, Kind.LOAD_TEST).runs[0].failed == 1


def test_totals_without_any_latency_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has neither mean_e2el_ms nor mean_ttft_ms"):
        totals(tmp_path, mean_ttft_ms=None)


def runs(folder: Path, **others: Any) -> tuple[SeenRun, ...]:
    path = folder / "result.txt"  # told by what it holds, not by its name
    path.write_text(json.dumps(as_vllm_bench(SEEN) | others), encoding="utf-8-sig")
    found: tuple[SeenRun, ...] = read(path, Kind.RUNS)
    return found


def test_each_request_comes_back(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, rtfx=0.0, queue_times=[0.0] * 3)
    assert [(one.input_tokens, one.output_tokens) for one in run.requests] == [(16, 5), (40, 1), (16, 3)]
    for one, seen in zip(run.requests, SEEN, strict=True):
        assert one.stamps_s == pytest.approx([1000.0 + stamp for stamp in seen.stamps_s], abs=1e-5)
        assert one.start_s == pytest.approx(1000.0 + seen.start_s, abs=1e-5)
    assert run.in_flight_max == 2


def test_a_chunk_without_a_token_is_none(tmp_path: Path) -> None:
    """Chat sends the role of the answer beside its first token, and some servers an end without a token."""
    gaps = as_vllm_bench(SEEN)["itls"]
    (run,) = runs(tmp_path, itls=[[0.0, *gaps[0]], gaps[1], [*gaps[2], 1e-5]])
    assert [len(one.gaps_s) for one in run.requests] == [4, 0, 2]
    assert run.requests[0].gaps_s == pytest.approx(gaps[0])


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"itls": None}, "result.txt has no itls, and so nothing of single requests"),
        ({"start_times": None}, "has no start_times"),
        ({"ttfts": [0.1]}, "must be equally long"),
        ({"ttfts": [0.1, "fast", 0.1]}, "result.txt request 1: ttfts must be a number, got 'fast'"),
        ({"input_lens": [16, 40.5, 16]}, "result.txt request 1: input_lens must be a whole number, got 40.5"),
        ({"input_lens": [16, 0, 16]}, "result.txt request 1: a request has from 1"),
        ({"ttfts": [0.1, -0.1, 0.1]}, "result.txt request 1: a request is sent, then"),
        ({"itls": [[0.1], [], [-0.1, 0.1]]}, "result.txt request 2: itls must not be negative"),
        ({"itls": [0.1, 0.1, 0.1]}, "itls must be a list"),
        ({"errors": ["", "refused", ""]}, "1 requests failed"),
        ({name: [] for name in ("ttfts", "itls", "input_lens", "output_lens", "start_times")}, "no request"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path: Path, others: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        runs(tmp_path, **others)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "a,b\n1,2\n", '{"duration": 1}', "\x00", "[" * 100_000, "{}\n" * 3]
)
def test_other_files_are_not_recognised(text: str) -> None:
    document = Document("other", text)
    assert not recognises(document)
    with pytest.raises(InputError, match="other is of none of the [0-9]+ formats|other: not valid JSON"):
        format_of(document)


def test_a_file_serves_the_purposes_that_its_format_has(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(as_vllm_bench(SEEN)))
    with pytest.raises(
        InputError, match=r"result.json is from vllm bench serve .* has no profile in it, only: runs"
    ):
        read(path, Kind.PROFILE)


def test_single_requests_have_not_failed(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(as_vllm_bench(SEEN)))
    run = read(path, Kind.LOAD_TEST).runs[0]
    assert (run.succeeded, run.failed) == (3, 0)


@pytest.mark.parametrize(
    ("others", "loop", "users", "rate"),
    [
        ({"request_rate": "inf", "max_concurrency": 4}, Loop.CLOSED, 4.0, None),
        ({"request_rate": "inf", "max_concurrency": None}, Loop.UNKNOWN, None, None),
        ({"request_rate": 3, "max_concurrency": 4}, Loop.OPEN, 4.0, 3.0),
    ],
)
def test_what_decides_when_requests_are_sent(tmp_path, others, loop, users, rate) -> None:
    run = totals(tmp_path, **others)
    assert (run.loop, run.users, run.rate_asked_rps) == (loop, users, rate)


def test_the_rate_of_sending_leaves_out_the_last_response(tmp_path: Path) -> None:
    """Two requests in 10 s, of which the last answer took 80 ms and a token after the first 20 ms; or 1.5 s."""
    given = {"completed": 2, "duration": 10.0, "request_throughput": 0.2, "mean_tpot_ms": 20.0}
    for tokens, response_s in ((6, 0.12), (2, 0.08), (1, 0.08)):
        run = totals(tmp_path, total_output_tokens=tokens, **given)
        assert run.rate_sent_rps == pytest.approx(2.0 / (10.0 - response_s), rel=1e-12)
    run = totals(tmp_path, **given, mean_e2el_ms=1500.0)
    assert (run.mean_s, run.rate_sent_rps) == (1.5, pytest.approx(2.0 / 8.5, rel=1e-12))
    assert totals(tmp_path, **given | {"mean_tpot_ms": None}).rate_sent_rps == pytest.approx(0.2)
    assert totals(tmp_path, **given | {"completed": 0}).rate_sent_rps == pytest.approx(0.2)
    assert totals(tmp_path, **given, mean_e2el_ms=10_000.0).rate_sent_rps is None


def test_the_first_column_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = {"input_lens": None, "itls": None, "ttfts": None}
    with pytest.raises(InputError, match="has no (input_lens|ttfts|itls), and so") as refused:
        runs(tmp_path, **missing)
    first = next(name for name in _COLUMNS if name in missing)
    assert f"has no {first}," in str(refused.value)


DRAFTS = {
    "spec_decode_acceptance_rate": 50.0,
    "spec_decode_acceptance_length": 2.0,
    "spec_decode_num_drafts": 40,
    "spec_decode_draft_tokens": 80,
    "spec_decode_accepted_tokens": 40,
    "spec_decode_per_position_acceptance_rates": [0.75, 0.25],
}


def test_a_server_that_counts_its_drafts_may_send_several_tokens_at_once(tmp_path: Path) -> None:
    result = as_vllm_bench(SEEN)
    chunks = [gaps[::2] for gaps in result["itls"]]
    path = tmp_path / "drafted.json"
    path.write_text(json.dumps(result | DRAFTS | {"itls": chunks}))
    (run,) = read(path, Kind.RUNS)
    assert isinstance(run, SeenRun)
    assert run.speculation is not None
    assert (run.speculation.rates, run.speculation.in_steps) == ((0.75, 0.25), True)
    assert [len(one.gaps_s) for one in run.requests] == [2, 0, 1]
    assert [one.output_tokens for one in run.requests] == [5, 1, 3]
    with pytest.raises(
        InputError, match="server that drafts, whose figures do not say in how many steps tokens came"
    ):
        read(path, Kind.LOADS)
