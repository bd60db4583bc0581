"""Hit laws: figures of others, a second road to each number, and limits that need no formula."""

import itertools

import numpy as np
import pytest

from capacity.errors import DomainError
from capacity.traffic.sessions.hit_laws import GroupRequests, unlimited_hit_share
from capacity.traffic.sessions.laws import Groups, parse_laws

ZIPF = tuple(Groups(count=150, exponent=1.0, prefix_tokens=1).shares.tolist())
FEW = (0.4, 0.3, 0.2, 0.1)


def groups(shares: tuple[float, ...], room: float, blocks: int = 1, own: int = 0) -> GroupRequests:
    return GroupRequests(shares=shares, blocks=blocks, own_blocks=own, room=room)


def test_che_finds_what_a_calculation_elsewhere_found() -> None:
    """Zipf 1 with 150 groups and room for a quarter of them; equal groups and room for half."""
    assert groups(ZIPF, 37.5).che_hit_share == pytest.approx(0.6508, abs=5e-5)
    assert groups((1 / 150,) * 150, 75.0).che_hit_share == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("room", [1, 2, 3])
def test_the_least_recently_used_is_known_by_its_markov_chain_too(room: int) -> None:
    """King (1971): the cache holds groups in the order of their last use, each order with a known probability."""
    expected = 0.0
    for order in itertools.permutations(range(len(FEW)), room):
        probability, left = 1.0, 1.0
        for group in order:
            probability *= FEW[group] / left
            left -= FEW[group]
        expected += probability * sum(FEW[group] for group in order)
    assert groups(FEW, room).lru_hit_share == pytest.approx(expected, abs=1e-9)


def test_of_equal_groups_a_cache_finds_the_part_that_it_has_room_for() -> None:
    for room in (1, 10, 29):
        assert groups((1 / 30,) * 30, room).lru_hit_share == pytest.approx(room / 30, abs=1e-9)


def test_che_is_within_one_percent_of_the_truth_for_many_groups() -> None:
    """Also with blocks of their own, and with room for a few groups only."""
    for room, blocks, own in ((37.5, 1, 0), (375.0 * 37.5, 375, 1), (10.0 * 30, 10, 5), (10.0 * 8, 10, 0)):
        law = groups(ZIPF, room, blocks, own)
        assert law.che_hit_share == pytest.approx(law.lru_hit_share, rel=0.01)
    few = groups(FEW, 2)
    assert few.che_hit_share != pytest.approx(few.lru_hit_share, rel=0.01)


@pytest.mark.parametrize("own", [0, 1])
def test_a_list_finds_as_much_as_the_law_says(own: int) -> None:
    """The first of a list of blocks is taken next; groups of three blocks, room for nearly nine of twelve."""
    generator, blocks, room = np.random.default_rng(1), 3, 26
    shares = tuple(one / sum(ZIPF[:12]) for one in ZIPF[:12])
    cache: list[object] = [("empty", place) for place in range(room)]
    found = []
    for number, group in enumerate(generator.choice(len(shares), 60_100, p=shares)):
        mine = [(group, block) for block in range(blocks)]
        held = [one for one in mine if one in cache]
        cache = [one for one in cache if one not in held]
        used = [("own", number, place) for place in range(own)]
        cache = [*cache[len(mine) + own - len(held) :], *used, *reversed(mine)]
        found.append(len(held))
    runs = np.array(found[100:]).reshape(30, -1).mean(axis=1) / blocks
    error = runs.std(ddof=1) / np.sqrt(len(runs))
    assert abs(runs.mean() - groups(shares, room, blocks, own).lru_hit_share) < 4.0 * error
    assert error < 0.002


def test_with_room_for_all_everything_is_found_and_own_blocks_take_room() -> None:
    assert groups(FEW, 4).lru_hit_share == 1.0
    assert groups(FEW, 4).che_hit_share == pytest.approx(1.0)
    assert groups(FEW, 4, own=1).lru_hit_share < 0.9


@pytest.mark.parametrize(
    ("shares", "room", "blocks", "own"),
    [
        ((0.5, 0.4), 2, 1, 0),
        ((), 2, 1, 0),
        ((1.2, -0.2), 2, 1, 0),
        (FEW, 2, 0, 0),
        (FEW, 2, 2, 1),
        (FEW, 2, 1, -1),
    ],
)
def test_what_is_no_cache_is_refused(shares: tuple[float, ...], room: float, blocks: int, own: int) -> None:
    with pytest.raises(DomainError):
        groups(shares, room, blocks, own)


TURNS = "turns=geometric:mean=5;system=1200;first=constant:400;user=constant:{};output=constant:{}"


@pytest.mark.parametrize(("output", "block", "share"), [(1, 200, 0.86), (60, 50, 0.87), (250, 200, 0.9)])
def test_sessions_that_grow_evenly_have_a_share_in_closed_form(output: int, block: int, share: float) -> None:
    """Σ q^k prompt_k = 20,000; of each answer the next turn finds its full blocks but for the last token."""
    laws = parse_laws(TURNS.format(600 - output, output))
    assert unlimited_hit_share(laws, block) == pytest.approx(share, abs=1e-9)


def test_with_a_constant_number_of_turns_the_sum_has_as_many_terms() -> None:
    laws = parse_laws("turns=constant:3;system=10;first=constant:6;user=constant:5;output=constant:4")
    # Prompts of 16, 25 and 34; found are 8 of the system's 10, then 16 of 19 and 28 of 28, in blocks of four.
    assert unlimited_hit_share(laws, 4) == pytest.approx((8 + 16 + 28) / (16 + 25 + 34))


def test_one_turn_finds_the_prefixes_but_never_its_last_token() -> None:
    laws = parse_laws("turns=constant:1;groups=equal:count=3;prefix=32;first=constant:1;output=constant:9")
    assert unlimited_hit_share(laws, 16) == pytest.approx(32 / 33)


def test_lengths_by_chance_have_no_such_sum() -> None:
    with pytest.raises(DomainError, match="constant lengths"):
        unlimited_hit_share(
            parse_laws(TURNS.format(10, 10).replace("constant:400", "geometric:mean=400")), 16
        )
