"""Radix tree: a cache of prefixes as SGLang keeps it, to be read; it shares no code with what it is compared with.

    python benchmarks/radix_tree.py [--sessions 400] [--seed 1]

Turns of conversations come one at a time, and what they find in the tree stands beside what they find in the blocks of
the simulator. No request of the tree may compute what is there already: SGLang would drop one of both.

Each node has the tokens behind those of its parent, in whole pages. Who begins alike shares nodes, and a node is split
where a prompt leaves it. Nodes of requests that run are locked. Of the leaves that are not, the one that was used
longest ago goes whole when room is needed; a part of a node that a prompt does not have counts as used with the other.

Source:
    SGLang 0.5.23, python/sglang/srt/mem_cache: unified_radix_cache.py, `checkpoint_into_tree`;
    unified_cache/unified_tree_core.py, `_match_prefix_helper` and `_split_node`; allocator/base.py,
    `evict_to_free_tokens`.
"""

import argparse
from dataclasses import dataclass, field

import numpy as np

from capacity.profile.llm import Scheduler
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from capacity.traffic.sessions.laws import parse_laws
from capacity.traffic.sessions.turns import Turns
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws
from simulations.kernel.engines import serve_engines

LAWS = (
    "turns=geometric:mean=5;think=exponential:mean=20s;system=1200;first=lognormal:mean=800,cv=1;"
    "user=lognormal:mean=200,cv=1;output=geometric:mean=250"
)
CACHES, RATE_RPS, CHUNK = (15_000, 20_000, 30_000, 40_000, 60_000), 0.2, 2_048
Tokens = tuple[int, ...]


@dataclass(eq=False)
class Node:
    """Pages behind those of its parent."""

    pages: list[Tokens]
    parent: "Node | None" = None
    children: "dict[Tokens, Node]" = field(default_factory=dict)
    used: int = 0
    locks: int = 0


class RadixTree:
    """The tree, and the pages that it leaves free.

    Attributes:
        largest: pages of the largest node that there ever was.
    """

    def __init__(self, pages: int, page_tokens: int) -> None:
        self.free, self.page_tokens = pages, page_tokens
        self.root, self.clock, self.largest = Node([]), 0, 1

    def serve(self, prompt: Tokens, answer: Tokens, chunk: int) -> int:
        """Tokens found by a request that is alone, whose prompt is computed by this many tokens at a time."""
        size, computed = self.page_tokens, (prompt + answer)[:-1]
        node, found = self.match(prompt[:-1])
        self._lock(node, 1)
        held = done = found * size
        while done < len(prompt):
            done = min(len(prompt), done + chunk)
            held = self._hold(held, done)
            node = self._keep(node, prompt[:done])
        for length in range(len(prompt) + 1, len(computed) + 1):
            held = self._hold(held, length)
        node = self._keep(node, computed)
        self._lock(node, -1)
        self.free += len(computed) % size > 0  # the page that is not full
        return found * size

    def match(self, tokens: Tokens) -> tuple[Node, int]:
        """The node that the longest beginning ends with, and its pages; all on the way count as used."""
        self.clock += 1
        node, left, count = self.root, self._pages(tokens), 0
        while left and left[0] in node.children:
            child = node.children[left[0]]
            child.used = self.clock
            alike = self._alike(child.pages, left)
            node = child if alike == len(child.pages) else self._split(child, alike)
            left, count = left[alike:], count + alike
        return node, count

    def _keep(self, locked: Node, tokens: Tokens) -> Node:
        """All whole pages are in the tree, and locked in place of those that were."""
        node, count = self.match(tokens)
        if more := self._pages(tokens)[count:]:
            node.children[more[0]] = leaf = Node(more, node, used=self.clock)
            self.largest = max(self.largest, len(more))
            node = leaf
        self._lock(node, 1)
        self._lock(locked, -1)
        return node

    def _hold(self, held: int, tokens: int) -> int:
        """Have pages for this many tokens, at the cost of what was used longest ago."""
        missing = -(-tokens // self.page_tokens) - -(-held // self.page_tokens)
        while self.free < missing:
            leaf = min(self._leaves(self.root), key=lambda node: node.used)
            assert leaf.parent is not None
            del leaf.parent.children[leaf.pages[0]]
            self.free += len(leaf.pages)
        self.free -= missing
        return tokens

    def _leaves(self, node: Node) -> list[Node]:
        if not node.children:
            return [] if node.locks or node is self.root else [node]
        return [leaf for child in node.children.values() for leaf in self._leaves(child)]

    def _split(self, child: Node, alike: int) -> Node:
        """Divide a node; the first part is returned."""
        assert child.parent is not None
        first = Node(child.pages[:alike], child.parent, used=child.used, locks=child.locks)
        child.parent.children[first.pages[0]] = first
        child.pages, child.parent = child.pages[alike:], first
        first.children[child.pages[0]] = child
        return first

    def _lock(self, node: Node, by: int) -> None:
        """Lock or unlock all on the way to a node."""
        at: Node | None = node
        while at is not None:
            at.locks += by
            at = at.parent

    def _pages(self, tokens: Tokens) -> list[Tokens]:
        size = self.page_tokens
        return [tokens[at : at + size] for at in range(0, len(tokens) - size + 1, size)]

    @staticmethod
    def _alike(one: list[Tokens], other: list[Tokens]) -> int:
        pairs = zip(one, other, strict=False)
        return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def one_at_a_time(turns: Turns, seed: int) -> TokenDraws:
    """Sessions that start at random; steps of no length keep their turns apart."""
    count = len(turns.input_tokens)
    starts_s = np.cumsum(np.random.default_rng(seed).exponential(1.0 / RATE_RPS, turns.sessions))
    return TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
        sessions=Conversations(turns, starts_s),
    )


def in_order(draws: TokenDraws) -> list[tuple[Tokens, Tokens]]:
    """Prompts and answers in the order in which they come; tokens are numbered by their places in a session."""
    assert draws.sessions is not None
    turns, starts_s = draws.sessions.turns, draws.sessions.starts_s
    shared = parse_laws(LAWS).shared_tokens
    made: list[tuple[float, Tokens, Tokens]] = []
    for session, start_s in enumerate(starts_s.tolist()):
        at_s = start_s
        for row in range(turns.first[session], turns.first[session + 1]):
            ends = int(turns.input_tokens[row]), int(turns.input_tokens[row] + turns.output_tokens[row])
            whole = [at if at < shared else session * 10**6 + at for at in range(ends[1])]
            at_s += float(turns.think_s[row])
            made.append((at_s, tuple(whole[: ends[0]]), tuple(whole[ends[0] :])))
    return [(prompt, answer) for _, prompt, answer in sorted(made)]


def compare(sessions: int, seed: int, page: int, kv_tokens: int) -> tuple[float, float, int]:
    """Hit shares of the tree and of blocks, and pages of the largest node."""
    turns = parse_laws(LAWS).draw(sessions, lambda at: np.random.default_rng([seed, at]), page)
    draws, tree = one_at_a_time(turns, seed), RadixTree(kv_tokens // page, page)
    of_tree = sum(tree.serve(*one, CHUNK) for one in in_order(draws))
    rules = EngineRules(
        sequences_max=4,
        tokens_max=CHUNK,
        blocks=kv_tokens // page,
        block_tokens=page,
        unfilled_first=True,
        scheduler=Scheduler.SGLANG,
    )
    table = linear_table(1e-9, 0.0, 0.0, 0.0, (64, 10**6, 10**6))
    of_blocks = int(serve_engines(table, rules, 1, Routing.ROUND_ROBIN, draws).hit_tokens.sum())
    asked = int(turns.input_tokens.sum())
    return of_tree / asked, of_blocks / asked, tree.largest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print("| page | KV tokens | hits, tree | hits, blocks | difference | largest node, of the cache |")
    print("|---|---|---|---|---|---|")
    for page in (1, 16):
        for kv_tokens in CACHES:
            tree, blocks, largest = compare(asked.sessions, asked.seed, page, kv_tokens)
            node = largest * page / kv_tokens
            print(
                f"| {page} | {kv_tokens:,} | {tree:.2%} | {blocks:.2%} | {100 * (blocks - tree):+.2f} points "
                f"| {node:.1%} |"
            )


if __name__ == "__main__":
    main()
