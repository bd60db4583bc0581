"""Several values of one flag: what is a list or a range, what is a choice, and what is refused."""

from typing import Any

import numpy as np
import pytest

from capacity.api.asked import asked_at, asked_varied
from capacity.errors import InputError
from capacity.question.arguments import Asked
from capacity.question.flag import COUNT, DURATION, RATE, SHARE
from capacity.question.grid import POINTS_MAX, Varied, is_several
from capacity.question.verbs import VERBS

AXES = {name: flag for name, flag in VERBS["plan"].flags.items() if flag.is_axis}


def values(name: str, text: Any, si: Any = None) -> Any:
    """What is asked of a flag of `plan`; None if it has one value, or some to choose from."""
    found = Varied.of(name, AXES[name], f"--{name.replace('_', '-')}", text, si)
    return None if found is None else found.values


def refusal(**given: Any) -> str:
    with pytest.raises(InputError) as caught:
        asked_varied(Asked("plan", {"profile": ["p"], **given}))
    return str(caught.value)


def test_only_plan_takes_several_values_and_only_of_what_has_an_order() -> None:
    assert {name for name, verb in VERBS.items() if any(flag.is_axis for flag in verb.flags.values())} == {
        "plan"
    }
    assert {flag.kind for flag in AXES.values()} <= {DURATION, RATE, COUNT, SHARE}
    limits = {name for name in VERBS["plan"].flags if name.startswith("slo_")}
    assert limits | {"rate", "users", "context_tokens_max", "sequences_max", "batch_size_max"} <= AXES.keys()
    assert not {"seed", "workers", "requests_max", "backoff", "hourly_usd", "preferred_sizes"} & AXES.keys()


def test_one_value_is_one_question() -> None:
    assert values("slo_p99", "20ms") is None
    assert values("slo_p99", None, 0.02) is None
    assert values("users", 40) is None
    assert values("rate", None) is None


def test_a_list_and_a_range_are_questions_in_rising_order_each_once() -> None:
    assert values("slo_p99", "40ms,20ms,40ms") == (0.02, 0.04)
    assert values("slo_p99", "20ms:100ms:40ms") == (0.02, 0.06, 0.1)
    assert values("slo_p99", "1s,20ms:40ms:20ms") == (0.02, 0.04, 1.0)
    assert values("rate", "500rps,60000/min") == (500.0, 1000.0)
    assert values("loss_max", "0.1%,1%") == (0.001, 0.01)
    assert values("context_tokens_max", "4000,8000:16000:4000") == (4000, 8000, 12000, 16000)
    assert values("users", "1:3") == (1, 2, 3)
    assert all(isinstance(one, int) for one in values("users", "1:3"))


def test_the_values_of_a_range_are_those_that_are_typed() -> None:
    """Steps add up in decimals: 0.06 and not 0.060000000000000005, so that each point is the question typed alone."""
    from capacity.units import parse_duration_s

    texts = [f"{number}ms" for number in range(1, 101)]
    assert values("slo_p99", "1ms:100ms:1ms") == tuple(map(parse_duration_s, texts))


def test_python_may_pass_numbers_in_si_or_several_texts() -> None:
    assert values("slo_p99", None, [0.04, 0.02]) == (0.02, 0.04)
    assert values("slo_p99", None, np.array([0.02, 0.04])) == (0.02, 0.04)
    assert values("slo_p99", ["20ms", "40ms"]) == (0.02, 0.04)
    assert values("users", range(10, 31, 10)) == (10, 20, 30)
    assert values("utilization_max", [0.5, "60%"]) == (0.5, 0.6)
    with pytest.raises(InputError, match="slo_p99=0.02 has no unit"):
        values("slo_p99", [0.02])
    with pytest.raises(InputError, match="slo_p99_s must be a number, got True"):
        values("slo_p99", None, [True])


def test_a_repeated_flag_chooses_as_it_did() -> None:
    assert values("batch_wait", ["2ms", "4ms"]) is None
    assert values("batch_wait", [], [0.002, 0.004]) is None
    assert values("batch_wait", ["2ms,4ms"]) == (0.002, 0.004)
    assert values("sequences_max", [64, 128]) is None
    assert values("sequences_max", ["64,128"]) == (64, 128)
    assert refusal(batch_wait=["2ms,4ms", "1ms"]) == (
        "--batch-wait chooses among its values where it is repeated, and a list or a range asks for each; do one of the "
        "two"
    )


def test_no_other_flag_is_split() -> None:
    flags = VERBS["plan"].flags
    assert not is_several("4,8", flags["preferred_sizes"])
    assert not is_several("50ms:10s", flags["backoff"])
    assert not is_several("20ms,40ms", VERBS["simulate"].flags["batch_wait"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"slo_p99": "20,40ms"}, "--slo-p99 '20' has no unit; write 20ms or 20s"),
        ({"slo_p99": "20ms,"}, "--slo-p99 '' is not a number with a unit, such as 200ms"),
        ({"slo_p99": "20ms:40ms"}, "--slo-p99 '20ms:40ms' is not a range from low to high in steps: 20ms:100ms:20ms"),
        ({"slo_p99": "40ms:20ms:1ms"}, "--slo-p99 '40ms:20ms:1ms' runs from high to low; write the low end first"),
        ({"users": "4,x"}, "--users 'x' is not a whole number, such as 4"),
        ({"loss_max": "1%:200%:1%"}, "--loss-max must be above 0 and below 100%, got 200%"),
        (
            {"rate": "1rps:200rps:1rps", "slo_p99": "1s"},
            "--rate asks for 200 plans, above the 100 of one frontier; take a larger step",
        ),
        (
            {"rate": "1rps:20rps:1rps", "slo_p99": "1s:10s:1s"},
            "--rate and --slo-p99 ask for 200 plans, above the 100 of one frontier; take a larger step",
        ),
        (
            {"rate": "1rps,2rps", "slo_p99": "1s,2s", "users": "1,2"},
            "--rate, --slo-p99, --users have several values each, and a frontier has 2 such flags at most; give one "
            "value of the others",
        ),
        ({"slo_p99": "1s,2s", "explain": True}, "leave out --explain with several values of --slo-p99: it explains one plan"),
        (
            {"slo_p99": "1s,2s", "autoscale": "any", "daily": "d.csv"},
            "leave out --autoscale with several values of --slo-p99: the table has the costs of fixed fleets",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_with_numbers(given: dict[str, Any], said: str) -> None:
    assert refusal(**given) == said


def test_as_many_points_as_are_allowed_are_asked() -> None:
    asked = Asked("plan", {"profile": ["p"], "rate": f"1rps:{POINTS_MAX}rps:1rps"})
    assert len(list(asked_at(asked, asked_varied(asked)))) == POINTS_MAX


def test_each_point_is_asked_as_if_alone() -> None:
    given = {"profile": ["p"], "rate": "5rps,6rps", "slo_p99": "1s:2s:1s", "batch_size_max": "4"}
    asked = Asked("plan", given, given)
    points = list(asked_at(asked, asked_varied(asked)))
    assert [(one.rate, one["slo_p99_s"]) for one in points] == [
        (5.0, 1.0),
        (5.0, 2.0),
        (6.0, 1.0),
        (6.0, 2.0),
    ]
    assert {(one["rate"], one["slo_p99"], one.batch_size_max) for one in points} == {(None, None, 4)}
    assert all(one.is_told("rate") and one.is_told("slo_p99") and not one.is_told("users") for one in points)


def test_a_number_that_is_typed_is_a_number() -> None:
    """Its option takes text, since a list is one."""
    asked = Asked(
        "plan", {"profile": ["p"], "users": "40", "sequences_max": ["64", 128], "replicas_max": "8"}
    )
    assert (asked.users, asked["sequences_max"], asked.replicas_max) == (40, [64, 128], 8)
    with pytest.raises(InputError, match="--users '4.5' is not a whole number, such as 4"):
        Asked("plan", {"profile": ["p"], "users": "4.5"})
