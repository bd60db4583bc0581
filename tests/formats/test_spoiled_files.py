"""Files with anything in the place of anything: an answer or one line, never a traceback."""

import json
import random
from functools import cache
from typing import Any

import pytest
from engine_on_paper import Seen, as_aiperf, as_guidellm, as_vllm_bench, closed_loop
from test_hostile_formats import keys

from capacity.errors import CapacityError
from capacity.formats.document import Document
from capacity.formats.registry import format_of
from capacity.profile.llm import KvCache
from capacity.profile.llm_sweeps import EngineSettings, sweep

SETTINGS = EngineSettings(kv=KvCache(tokens=65_536), sequences_max=2, batched_tokens_max=64)


@cache
def runs() -> tuple[list[Seen], ...]:
    settings: dict[str, Any] = {"sequences_max": 2, "tokens_max": 64}
    return (
        closed_loop([(tokens, 1) for tokens in (8, 64, 128) for _ in range(3)], 1, **settings),
        closed_loop([(8, 120)] * 2, 2, **settings),
        closed_loop([(500, 160)] * 2, 2, **settings),
        closed_loop([(8, 120)], 1, **settings),
        closed_loop([(20, 6)] * 10, 4, **settings),
    )


def documents(tool: str) -> list[Any]:
    """The parsed files of a tool."""
    if tool == "guidellm":
        return [as_guidellm(list(runs()))]
    return [as_aiperf(run) if tool == "aiperf" else as_vllm_bench(run) for run in runs()]


def spoiled(text: str, dice: random.Random) -> str:
    """Values of a line, at any depth, replaced or left out."""
    lines = text.split("\n")
    at = dice.randrange(len(lines))
    lines[at] = keys(dice, lines[at].encode()).decode()
    return "\n".join(lines)


def text_of(document: Any) -> str:
    return "\n".join(map(json.dumps, document)) if isinstance(document, list) else json.dumps(document)


def refusal_of(texts: list[str]) -> str | None:
    """What is said of files; None where they are read."""
    try:
        documents = [Document("a file", text) for text in texts]
        sweep([run for one in documents for run in format_of(one).READERS["runs"](one)], SETTINGS)
    except CapacityError as error:
        return str(error)
    return None


@pytest.mark.parametrize("tool", ["vllm_bench", "guidellm", "aiperf"])
def test_no_value_in_any_place_brings_a_traceback(tool: str) -> None:
    dice, whole = random.Random(7), documents(tool)
    assert refusal_of([text_of(one) for one in whole]) is None
    said = []
    for _ in range(150):
        texts = [text_of(one) for one in whole]
        at = dice.randrange(len(whole))
        texts[at] = spoiled(texts[at], dice)
        said.append(refusal_of(texts))
    refused = [one for one in said if one is not None]
    assert len(refused) > 30  # else nothing was spoiled
    assert all("\n" not in one and len(one) < 600 for one in refused)


@pytest.mark.parametrize("tool", ["vllm_bench", "guidellm"])
def test_a_file_that_was_cut_off_is_refused(tool: str) -> None:
    text, dice = text_of(documents(tool)[0]), random.Random(3)
    for _ in range(20):
        assert "a file" in (refusal_of([text[: dice.randrange(len(text) - 1)]]) or "")
