"""Hit laws: the share of a prompt that a cache holds, where theory knows it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from capacity.errors import DomainError
from capacity.traffic.sessions.laws import SessionLaws
from capacity.traffic.sessions.turns import Floats

_NEGLIGIBLE = 1e-15  # share of sessions that are longer than what is summed
_PANELS, _GAUSS = 60, 8  # of the integral over the time since a group's last request


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRequests:
    """Requests of one turn, one after the other, at one cache: each begins with the blocks of a random group.

    Requests are independent. The least recently used block is taken first; of one request, the last one.

    Attributes:
        shares: probability of each group, of sum 1.
        blocks: blocks that all requests of a group begin with.
        own_blocks: further blocks of a request, which nothing finds again; a last one that is not full counts.
        room: blocks of the cache.
    """

    shares: tuple[float, ...]
    blocks: int
    own_blocks: int
    room: float

    def __post_init__(self) -> None:
        if not self.shares or min(self.shares) <= 0.0 or not math.isclose(sum(self.shares), 1.0):
            raise DomainError("shares of groups must be positive and add up to 1")
        if self.blocks < 1 or self.own_blocks < 0:
            raise DomainError(
                f"a group needs at least one block, and none is negative; got {self.blocks} and {self.own_blocks}"
            )
        if not self.blocks + self.own_blocks <= self.room:
            raise DomainError(
                f"a request of {self.blocks + self.own_blocks} blocks never fits into {self.room:g}"
            )

    @property
    def characteristic_requests(self) -> float:
        """Requests after which a block that is not asked for is gone; infinite if there is room for all groups.

        The t at which as many blocks are used as there is room for: Σ b(1 − e^{−rt}) + ot = C.

        Source:
            Che, Tung & Wang (2002), IEEE J. Selected Areas in Communications 20(7), eq. (5); blocks that are
            never asked for again are the limit of ever more groups of ever smaller rates.
        """
        shares = np.array(self.shares)
        if not self.own_blocks and self.blocks * len(shares) <= self.room:
            return math.inf

        def excess(requests: float) -> float:
            return (
                float(self.blocks * -np.expm1(-shares * requests).sum())
                + self.own_blocks * requests
                - self.room
            )

        high = 1.0
        while excess(high) < 0.0:
            high *= 2.0
        return float(brentq(excess, 0.0, high, xtol=1e-12 * high))

    @property
    def che_hit_share(self) -> float:
        """Share of the groups' blocks that requests find, by Che's approximation.

        A group is found if it was asked for within the characteristic time, as if that did not vary.

        Source:
            Che, Tung & Wang (2002), as above; why it is good: Fricker, Robert & Roberts (2012), A versatile and
            accurate approximation for LRU cache performance, ITC 24, sec. III.

        >>> zipf = [1.0 / k for k in range(1, 151)]
        >>> shares = tuple(one / sum(zipf) for one in zipf)
        >>> round(GroupRequests(shares=shares, blocks=1, own_blocks=0, room=37.5).che_hit_share, 4)
        0.6508
        """
        shares = np.array(self.shares)
        return float((shares * -np.expm1(-shares * self.characteristic_requests)).sum())

    @property
    def lru_hit_share(self) -> float:
        """Share of the groups' blocks that requests find; exact but for own blocks, which count by their mean.

        As if requests came at rate 1 in a Poisson process, the time since the last request of a group is exponential,
        and which others were asked for meanwhile are independent events. Each of these has used all its blocks since,
        and what room is left, in the end, is for the group's first ones.

        Source:
            Flajolet, Gardy & Thimonier (1992), Discrete Applied Mathematics 39(3), sec. 6, by Poisson arrivals.
        """
        if math.isinf(until := self.characteristic_requests):
            return 1.0
        nodes, weights = np.polynomial.legendre.leggauss(_GAUSS)
        place = (
            (np.arange(_PANELS)[:, None] + 0.5 * (nodes + 1.0)) / _PANELS
        ).ravel()  # of (0, 1), for (0, ∞)
        since = until * place / (1.0 - place)
        mass = until * np.tile(0.5 * weights / _PANELS, _PANELS) / (1.0 - place) ** 2
        others = np.arange(int(self.room / self.blocks) + 1)
        none = np.zeros((len(since), len(others)))
        none[:, 0] = 1.0
        total = 0.0
        for share, used in _without_each(np.array(self.shares), since, none):
            own = self.own_blocks * (1.0 - share) * since
            left = np.clip(self.room - own[:, None] - self.blocks * others, 0.0, self.blocks)
            found = (used * left).sum(axis=1) / self.blocks
            total += share * float((mass * share * np.exp(-share * since) * found).sum())
        return total


def _without_each(shares: Floats, since: Floats, used: Floats) -> Iterator[tuple[float, Floats]]:
    """Each group's share, and the law of how many others were asked for by each time, shape `(times, numbers)`."""
    if len(shares) == 1:
        yield float(shares[0]), used
        return
    half = len(shares) // 2
    for mine, others in ((shares[:half], shares[half:]), (shares[half:], shares[:half])):
        more = used
        for share in others:
            asked = -np.expm1(-share * since)[:, None]
            shifted = np.concatenate([np.zeros((len(since), 1)), more[:, :-1]], axis=1)
            more = more * (1.0 - asked) + shifted * asked
        yield from _without_each(mine, since, more)


def unlimited_hit_share(laws: SessionLaws, block_tokens: int) -> float:
    """Share of prompt tokens that sessions find in one cache that forgets nothing, after the very first session.

    Σ q^k hit_k / Σ q^k prompt_k for k = 0, 1, ... with P(more turns than k) = q^k: a first turn finds what the system
    and its group have, a next one the prompt and the answer before it, but for the answer's last token, which is
    never computed, and in full blocks only.

    Args:
        laws: with a geometric number of turns, or a constant one, lengths that are constant, and no limit that
            sessions reach.

    Raises:
        DomainError: other laws.

    >>> from capacity.traffic.sessions.laws import parse_laws
    >>> text = "turns=geometric:mean=5;system=1200;first=constant:400;user=constant:599;output=constant:1"
    >>> round(unlimited_hit_share(parse_laws(text), 200), 9)
    0.86
    """
    lengths = (laws.first, laws.output, *([laws.user] if laws.user else []))
    if any(one.kind != "constant" for one in lengths) or laws.turns.kind not in ("geometric", "constant"):
        raise DomainError(
            "the hit share of sessions is known for constant lengths and a geometric number of turns"
        )
    first, output, *user = (int(one.mean) for one in lengths)
    mean, is_constant = laws.turns.mean, laws.turns.kind == "constant"
    more, prompt, known = 1.0, laws.shared_tokens + first, laws.shared_tokens
    hits = prompts = turn = 0.0
    while more > _NEGLIGIBLE:
        hits += more * (min(known, prompt - 1) // block_tokens * block_tokens)
        prompts += more * prompt
        turn += 1.0
        more = float(turn < mean) if is_constant else more * (1.0 - 1.0 / mean)
        known, prompt = prompt + output - 1, prompt + output + (user[0] if user else 0)
    return hits / prompts
