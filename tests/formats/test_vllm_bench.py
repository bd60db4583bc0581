"""Results of `vllm bench serve`, as the engine on paper writes them; nothing here is a file of vLLM's own."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_on_paper import as_vllm_bench, closed_loop

from capacity.errors import InputError
from capacity.formats.registry import Kind, format_of, read
from capacity.formats.vllm_bench import Document, recognises
from capacity.profile.llm_runs import SeenRun

SEEN = closed_loop([(16, 5), (40, 1), (16, 3)], 2)
EXAMPLES = {"result": json.dumps(as_vllm_bench(SEEN)).encode()}


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
        (
            {"itls": [[0.1], [], [0.1]]},
            "2 of 2 requests have not as many chunks as tokens; turn off speculative",
        ),
        ({"itls": [0.1, 0.1, 0.1]}, "itls must be a list"),
        ({"errors": ["", "refused", ""]}, "1 requests failed"),
        ({name: [] for name in ("ttfts", "itls", "input_lens", "output_lens", "start_times")}, "no request"),
    ],
)
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
    with pytest.raises(InputError, match="other is of none of the [0-9]+ formats"):
        format_of(document)


def test_a_file_serves_the_purposes_that_its_format_has(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(as_vllm_bench(SEEN)))
    with pytest.raises(
        InputError, match=r"result.json is from vllm bench serve .* has no profile in it, only: runs"
    ):
        read(path, Kind.PROFILE)
