"""Versions of vLLM: the rules in which they differ, in any combination, with a drafter or without."""

from typing import Any

from hypothesis import strategies as st

from simulations.draws.tokens import EngineRules


@st.composite
def version_rules(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of `EngineRules` that versions of vLLM set differently; half of the time those of 0.19."""
    if draw(st.booleans()):
        return {}
    return {
        "part_max": draw(st.sampled_from([0, 1, 3, 10, 25])),
        "lone_is_whole": draw(st.booleans()),
        "spare": draw(st.sampled_from([0, 0, 1, 3, 20])),
        "unfilled_first": draw(st.booleans()),
    }


@st.composite
def with_drafts(draw: st.DrawFn, rules: EngineRules) -> EngineRules:
    """The rules with a drafter, and with the room that its drafts may take."""
    chances = draw(st.lists(st.sampled_from([0.0, 0.3, 0.7, 1.0]), min_size=1, max_size=5))
    lookahead = draw(st.sampled_from([0, len(chances)]))
    drafting = rules._replace(
        acceptance=tuple(sorted(chances, reverse=True)),
        lookahead=lookahead,
        starts_ahead=draw(st.sampled_from([0, lookahead])),
        draft_slots=draw(st.sampled_from([0, 0, 1])),
        drafts_timed=draw(st.booleans()),
        tokens_max=rules.tokens_max + 1,
    )
    return drafting._replace(blocks=rules.blocks + -(-drafting.spare_tokens // rules.block_tokens))


@st.composite
def perhaps_with_drafts(draw: st.DrawFn, rules: EngineRules) -> EngineRules:
    """The rules, in a third of the cases with a drafter."""
    return draw(with_drafts(rules)) if draw(st.integers(0, 2)) == 0 else rules
