"""Routers of conversations, readable form: each rule by cases worked by hand."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from capacity.question.plan import Routing
from capacity.server.engine.router import EXACT, RouterRules, parse_routing
from simulations.routing.conversations.routers import ROUTERS
from simulations.routing.conversations.seen import Fleet, Router, last_reading_s
from simulations.routing.conversations.session import session_hash

BLOCK = 16


@dataclass(eq=False)
class Replica:
    index: int
    outstanding: int = 0
    waiting: int = 0
    blocks_free: int = 100
    blocks: int = 100
    cache: set[int] = field(default_factory=set)

    def holds(self, content: int) -> bool:
        return content in self.cache


@dataclass(frozen=True)
class Prompt:
    """A request whose block j has the content `contents[j]`."""

    number: int
    contents: tuple[int, ...]
    session: int = 0
    turn: int = 0
    rest: int = 0  # tokens after the last full block

    @property
    def input(self) -> int:
        return BLOCK * len(self.contents) + self.rest

    def content(self, block: int) -> int:
        return self.contents[block]


def blocks(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def made(
    text: str, replicas: int = 3, held: int = 100, rate: float = 100.0, seed: int = 1
) -> tuple[Router, list[Replica]]:
    routing, rules = parse_routing(text)
    fleet = Fleet(replicas, held, BLOCK, rate, seed, rules or RouterRules())
    return ROUTERS[routing](fleet), [
        Replica(index, blocks=held, blocks_free=held) for index in range(replicas)
    ]


def test_each_router_of_conversations_is_registered() -> None:
    assert list(ROUTERS) == [one for one in Routing if one.needs_sessions]


# Sessions


def test_a_session_stays_and_only_those_of_a_lost_replica_move() -> None:
    router, replicas = made("session", replicas=4)
    at = {s: router.choose(replicas, Prompt(s, (), session=s), (0.0, 0.0), 0.0).index for s in range(4_000)}
    assert at == {
        s: router.choose(replicas, Prompt(s, (), session=s), (0.9, 0.0), 9.0).index for s in range(4_000)
    }
    assert all(
        900 < count < 1_100 for count in Counter(at.values()).values()
    )  # 1,000 +- 3.7 standard deviations
    left = [one for one in replicas if one.index != 2]
    after = {s: router.choose(left, Prompt(s, (), session=s), (0.0, 0.0), 0.0).index for s in range(4_000)}
    assert all(after[s] == at[s] for s in at if at[s] != 2)
    moved = Counter(after[s] for s in at if at[s] == 2)
    assert sorted(moved) == [0, 1, 3]
    assert all(250 < count < 420 for count in moved.values())


def test_runs_hash_sessions_differently() -> None:
    places = [
        [max(range(4), key=lambda r, s=s, seed=seed: session_hash(seed, s, r)) for s in range(400)]
        for seed in (1, 2)
    ]
    same = sum(one == other for one, other in zip(*places, strict=True))
    assert 60 < same < 140  # a quarter by chance


def test_a_cookie_follows_the_first_turn_until_it_is_forgotten() -> None:
    router, replicas = made("session-cookie,forget=10s")
    replicas[0].outstanding, replicas[1].outstanding, replicas[2].outstanding = 2, 1, 3
    assert router.choose(replicas, Prompt(0, (), session=7), (0.0, 0.0), 0.0).index == 1
    replicas[1].outstanding = 9
    assert router.choose(replicas, Prompt(1, (), session=7), (0.0, 0.0), 10.0).index == 1
    assert router.choose(replicas, Prompt(2, (), session=8), (0.0, 0.0), 10.0).index == 0
    assert router.choose(replicas, Prompt(3, (), session=7), (0.0, 0.0), 20.1).index == 0  # 10.1 s unused
    assert (
        router.choose(replicas[1:], Prompt(4, (), session=7), (0.0, 0.0), 20.2).index == 2
    )  # it is not there
    assert router.choose(replicas, Prompt(5, (), session=7), (0.0, 0.0), 20.3).index == 2  # and it has moved


@pytest.mark.parametrize(("uniform", "chosen"), [(0.0, 0), (0.49, 0), (0.5, 2), (0.99, 2)])
def test_equal_replicas_are_chosen_by_the_uniform_number(uniform: float, chosen: int) -> None:
    for text in ("session-cookie", "prefix:sglang"):
        router, replicas = made(text)
        replicas[1].outstanding = 1
        assert router.choose(replicas, Prompt(0, blocks(1, 4)), (uniform, 0.0), 0.0).index == chosen


# llm-d


def test_llm_d_sticks_to_who_knows_four_fifths() -> None:
    router, replicas = made("prefix:llm-d")
    first = Prompt(0, blocks(100, 20))  # 5 contents of 64 tokens
    assert router.choose(replicas, first, (0.4, 0.0), 0.0).index == 1
    # Replica 1 has 320 tokens in flight; the next prompt shares 4 of its 5 contents, then 3.
    four, three = blocks(100, 16) + blocks(200, 4), blocks(100, 12) + blocks(300, 8)
    assert router.choose(replicas, Prompt(1, four), (0.0, 0.0), 0.0).index == 1
    assert router.choose(replicas, Prompt(2, three), (0.0, 0.0), 0.0).index == 0  # 320 + 64 + 128 > 320


def test_llm_d_compares_tokens_in_flight_with_own_uncached_ones() -> None:
    router, replicas = made("prefix:llm-d")
    router.choose(replicas, Prompt(0, blocks(100, 20)), (0.4, 0.0), 0.0)  # 320 tokens at 1
    three = blocks(100, 12) + blocks(300, 8)  # 128 uncached at 1, 320 elsewhere: all are considered
    router.first_token(0)
    assert router.choose(replicas, Prompt(1, three), (0.9, 0.0), 0.0).index == 1


def test_llm_d_gives_way_when_the_gate_is_passed() -> None:
    def third(text: str, rate: float) -> int:
        router, replicas = made(text, replicas=2, rate=rate)
        shared = blocks(100, 16)
        router.choose(replicas, Prompt(0, shared), (0.0, 0.0), 0.0)  # 256 in flight at 0
        router.choose(replicas, Prompt(1, shared + blocks(200, 4)), (0.0, 0.0), 0.0)  # and 64 more: it sticks
        return router.choose(replicas, Prompt(2, shared + blocks(300, 4)), (0.0, 0.0), 0.0).index

    # 320 + 64 tokens at 0 against 0 + 320 at 1: 1 is the better one, if the gate is below 320 tokens.
    assert third("prefix:llm-d", 320 / 18) == 0
    assert third("prefix:llm-d", 319 / 18) == 1
    assert third("prefix:llm-d,gate=1s", 319.0) == 1
    assert third("prefix:llm-d,gate=0s", 319.0) == 0  # 0 always sticks


def test_llm_d_forgets_what_was_sent_to_a_lost_replica() -> None:
    router, replicas = made("prefix:llm-d", replicas=2)
    shared = blocks(100, 16)
    router.choose(replicas, Prompt(0, shared), (0.9, 0.0), 0.0)
    assert router.choose(replicas, Prompt(1, shared), (0.0, 0.0), 0.0).index == 1
    router.left(1)
    assert router.choose(replicas, Prompt(2, shared), (0.0, 0.0), 0.0).index == 0
    router.first_token(0)  # of a replica that is gone: nothing is in flight there
    assert router.choose(replicas, Prompt(3, blocks(500, 4)), (0.0, 0.0), 0.0).index == 1


def test_llm_d_learns_again_what_a_replica_is_sent_that_was_lost() -> None:
    router, replicas = made("prefix:llm-d", replicas=2)
    shared = blocks(100, 16)
    router.choose(replicas, Prompt(0, shared), (0.9, 0.0), 0.0)
    for replica in (0, 1):
        router.left(replica)
    assert router.choose(replicas, Prompt(1, shared), (0.9, 0.0), 0.0).index == 1
    router.first_token(1)
    assert router.choose(replicas, Prompt(2, shared + blocks(200, 4)), (0.0, 0.0), 0.0).index == 1


def test_the_oldest_contents_are_the_heads_of_prompts() -> None:
    router, replicas = made("prefix:llm-d,index=6", replicas=2)
    old, new = blocks(100, 16), blocks(200, 12)  # 4 and 3 contents; 6 have room, so that the first is lost
    router.choose(replicas, Prompt(0, old), (0.0, 0.0), 0.0)
    router.first_token(0)
    router.choose(replicas, Prompt(1, new), (0.0, 0.0), 0.0)
    router.first_token(1)
    assert (
        router.choose(replicas, Prompt(2, old), (0.9, 0.0), 0.0).index == 1
    )  # three of four known, but no head


def test_contents_behind_a_lost_head_count_where_another_replica_has_the_head() -> None:
    old = blocks(100, 16)
    router, replicas = made("prefix:llm-d,index=6,sticky=1", replicas=2)
    for number, (prompt, there) in enumerate([(old, 0), (blocks(200, 12), 0), (blocks(100, 4), 1)]):
        router.choose([replicas[there]], Prompt(number, prompt), (0.0, 0.0), 0.0)
        router.first_token(number)
    # 0 has lost the head and has three of four; 1 has the head alone: 64 tokens uncached against 192.
    assert router.choose(replicas, Prompt(9, old), (0.9, 0.0), 0.0).index == 0


def test_an_exact_index_asks_the_cache() -> None:
    router, replicas = made(f"prefix:llm-d,index={EXACT}", replicas=2)
    prompt = blocks(100, 10)
    replicas[1].cache.update(prompt[:8])
    assert router.choose(replicas, Prompt(0, prompt), (0.0, 0.0), 0.0).index == 1
    replicas[1].cache.clear()
    assert router.choose(replicas, Prompt(1, prompt), (0.0, 0.0), 0.0).index == 0


def test_short_prompts_have_no_content() -> None:
    router, replicas = made("prefix:llm-d", replicas=2)
    short = Prompt(0, blocks(100, 3), rest=15)
    router.choose(replicas, short, (0.0, 0.0), 0.0)
    assert router.choose(replicas, Prompt(1, short.contents, rest=15), (0.0, 0.0), 0.0).index == 1


# llm-d's scores


def test_scores_weigh_queue_cache_match_and_rest() -> None:
    router, replicas = made("prefix:llm-d-scores", replicas=2)
    prompt = blocks(100, 16)
    router.choose([replicas[0]], Prompt(0, prompt), (0.0, 0.0), 0.0)
    # Replica 0 knows all: 2·1 + 2·1 + 3·1 + 2·.5 = 8 against 2 + 2 + 0 + 1 = 5.
    assert router.choose(replicas, Prompt(1, prompt), (0.9, 0.0), 0.0).index == 0
    replicas[0].waiting, replicas[0].blocks_free = 1, 40
    assert router.choose(replicas, Prompt(2, prompt), (0.9, 0.0), 0.0).index == 0  # not read yet
    router.read(replicas)
    # 2·0 + 2·.4 + 3 + 1 = 4.8 against 2 + 2 + 0 + 1 = 5.
    assert router.choose(replicas, Prompt(3, prompt), (0.0, 0.0), 0.0).index == 1


def test_cold_prompts_go_round_by_rest() -> None:
    router, replicas = made("prefix:llm-d-scores", replicas=3)
    chosen = [
        router.choose(replicas, Prompt(n, blocks(1_000 * n, 4)), (0.9, 0.0), 0.0).index for n in range(5)
    ]
    assert chosen == [0, 1, 2, 0, 1]
    router.choose(replicas, Prompt(5, blocks(1_000, 4)), (0.0, 0.0), 0.0)  # a known one changes no turn
    assert router.choose(replicas, Prompt(6, blocks(9_000, 4)), (0.9, 0.0), 0.0).index == 2


def test_readings_are_multiples_of_the_tick() -> None:
    router, _ = made("prefix:llm-d-scores,read=250ms")
    assert router.tick_s == 0.25
    assert [last_reading_s(now_s, 0.25) for now_s in (0.0, 0.24, 0.25, 1.1)] == [0.0, 0.0, 0.25, 1.0]
    assert [made(text)[0].tick_s for text in ("session", "prefix:llm-d", "prefix:dynamo")] == [None] * 3


# SGLang


def test_sglang_follows_knowledge_above_its_threshold() -> None:
    router, replicas = made("prefix:sglang", replicas=2)
    router.choose(replicas, Prompt(0, blocks(100, 10)), (0.9, 0.0), 0.0)
    replicas[1].outstanding = 1
    assert router.choose(replicas, Prompt(1, blocks(100, 4) + blocks(200, 6)), (0.0, 0.0), 0.0).index == 1
    assert (
        router.choose(replicas, Prompt(2, blocks(100, 3) + blocks(300, 7)), (0.0, 0.0), 0.0).index == 0
    )  # .3 is not more


def test_sglang_follows_load_where_it_differs_much() -> None:
    def second(busy: int, idle: int) -> int:
        router, replicas = made("prefix:sglang", replicas=2)
        router.choose(replicas, Prompt(0, blocks(100, 10)), (0.0, 0.0), 0.0)
        replicas[0].outstanding, replicas[1].outstanding = busy, idle
        return router.choose(replicas, Prompt(1, blocks(100, 10)), (0.0, 0.0), 0.0).index

    assert (second(64, 0), second(65, 0)) == (0, 1)
    assert (second(195, 130), second(196, 130)) == (0, 1)  # 1.5 times


def test_sglang_and_production_stack_remember_who_left() -> None:
    for text in ("prefix:sglang", "prefix:production-stack"):
        router, replicas = made(text, replicas=2)
        router.choose(replicas, Prompt(0, blocks(100, 10)), (0.9, 0.0), 0.0)
        router.left(1)
        assert router.choose(replicas, Prompt(1, blocks(100, 10)), (0.0, 0.0), 0.0).index == 1


# Dynamo


def test_dynamo_counts_blocks_to_compute_and_to_hold() -> None:
    router, replicas = made("prefix:dynamo", replicas=2)
    prompt = blocks(100, 10)
    assert router.choose(replicas, Prompt(0, prompt), (0.0, 0.0), 0.0).index == 0
    # At 0: 10 blocks in flight, 10 own, 10 held, of which all are shared: 30. At 1: 0 + 10 + 10 = 20.
    assert router.choose(replicas, Prompt(1, prompt), (0.0, 0.0), 0.0).index == 1
    router.first_token(0)
    # At 0: 0 + 10 + 10 held and shared: 20. At 1: 10 + 10 + 10 = 30.
    assert router.choose(replicas, Prompt(2, prompt), (0.9, 0.0), 0.0).index == 0


def test_dynamo_credits_blocks_of_the_cache() -> None:
    router, replicas = made("prefix:dynamo", replicas=2)
    router.choose([replicas[0]], Prompt(0, blocks(500, 5)), (0.0, 0.0), 0.0)
    router.first_token(0)
    prompt = blocks(100, 10)
    replicas[0].cache.update(prompt[:6])
    # At 0: 10 - 6 to compute, 5 + 10 to hold: 19. At 1: 10 + 10 = 20.
    assert router.choose(replicas, Prompt(1, prompt), (0.9, 0.0), 0.0).index == 0
    router.done(1)
    replicas[0].cache.clear()
    replicas[0].cache.update(prompt[:4])
    # 6 + 15 = 21 against 20.
    assert router.choose(replicas, Prompt(2, prompt), (0.0, 0.0), 0.0).index == 1


def test_dynamo_gives_up_blocks_with_the_last_that_uses_them() -> None:
    router, replicas = made("prefix:dynamo", replicas=2)
    prompt = blocks(100, 10)
    for number in range(2):
        router.choose([replicas[0]], Prompt(number, prompt), (0.0, 0.0), 0.0)
        router.first_token(number)
    router.done(0)
    other = blocks(300, 10)
    assert router.choose(replicas, Prompt(2, other), (0.0, 0.0), 0.0).index == 1  # 10 are held at 0
    router.first_token(2)
    router.done(2)
    router.done(1)
    assert router.choose(replicas, Prompt(3, other), (0.0, 0.0), 0.0).index == 0
    router.left(0)
    router.done(3)
    assert router.choose(replicas, Prompt(4, other), (0.0, 0.0), 0.0).index == 0


# production-stack


def test_production_stack_takes_the_longest_prefix_whatever_the_load() -> None:
    router, replicas = made("prefix:production-stack", replicas=3)
    router.choose([replicas[0]], Prompt(0, blocks(100, 10)), (0.0, 0.0), 0.0)
    router.choose([replicas[1]], Prompt(1, blocks(100, 5)), (0.0, 0.0), 0.0)
    replicas[0].outstanding = 10_000
    assert router.choose(replicas, Prompt(2, blocks(100, 8)), (0.9, 0.0), 0.0).index == 0
    assert (
        router.choose(replicas, Prompt(3, blocks(100, 4) + blocks(500, 9)), (0.6, 0.0), 0.0).index == 1
    )  # 4 at both
