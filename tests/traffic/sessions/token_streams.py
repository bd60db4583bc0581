"""Sessions as streams of tokens, from which equal blocks follow by comparison, without any numbers of contents."""

from collections.abc import Callable, Sequence

import numpy as np

from capacity.traffic.sessions.turns import Turns

Token = tuple[object, ...]


def numbers(turns: Turns, turn: int, block_tokens: int) -> list[int]:
    """Contents of all full blocks of a turn, prompt and answer."""
    full = int(turns.input_tokens[turn] + turns.output_tokens[turn]) // block_tokens
    listed, at = int(turns.listed[turn]), int(turns.at[turn])
    assert listed <= full
    own = [int(turns.private[turn]) + j for j in range(listed, full)]
    return [*turns.contents[at : at + listed].tolist(), *own]


def prefixes(tokens: Sequence[Token], block_tokens: int) -> list[tuple[Token, ...]]:
    """All tokens up to the end of each full block."""
    return [tuple(tokens[: (j + 1) * block_tokens]) for j in range(len(tokens) // block_tokens)]


def require_same_blocks(turns: Turns, streams: Sequence[Sequence[Token]], block_tokens: int) -> None:
    """Assert that blocks have equal contents if and only if all tokens up to their ends are equal."""
    of_number: dict[int, tuple[Token, ...]] = {}
    of_tokens: dict[tuple[Token, ...], int] = {}
    for turn, stream in enumerate(streams):
        assert len(stream) == turns.input_tokens[turn] + turns.output_tokens[turn]
        for number, tokens in zip(
            numbers(turns, turn, block_tokens), prefixes(stream, block_tokens), strict=True
        ):
            assert of_number.setdefault(number, tokens) == tokens
            assert of_tokens.setdefault(tokens, number) == number


def hits(turns: Turns, replicas: int, block_tokens: int) -> list[int]:
    """Blocks that requests in this order find in caches that forget nothing, by sets."""
    caches: list[set[int]] = [set() for _ in range(replicas)]
    found = []
    for turn in range(len(turns.input_tokens)):
        blocks, cache = numbers(turns, turn, block_tokens), caches[turn % replicas]
        most = (int(turns.input_tokens[turn]) - 1) // block_tokens
        hit = 0
        while hit < most and blocks[hit] in cache:
            hit += 1
        found.append(hit)
        full = int(turns.input_tokens[turn] + turns.output_tokens[turn] - 1) // block_tokens
        cache.update(blocks[:full])
    return found


def lru_hits(turns: Turns, room: int, block_tokens: int) -> int:
    """Blocks found in one cache of some blocks that forgets the least recently used first, by a list."""
    cache: list[int] = []  # the least recently used first
    found = 0
    for turn in range(len(turns.input_tokens)):
        blocks = numbers(turns, turn, block_tokens)
        most = (int(turns.input_tokens[turn]) - 1) // block_tokens
        hit = 0
        while hit < most and blocks[hit] in cache[-room:]:
            hit += 1
        found += hit
        used = blocks[: int(turns.input_tokens[turn] + turns.output_tokens[turn] - 1) // block_tokens]
        cache = [block for block in cache if block not in set(used)] + used[::-1]
    return found


def streams(seed: int) -> Callable[[int], np.random.Generator]:
    """Streams of random numbers by quantity."""
    return lambda part: np.random.default_rng([seed, part])
