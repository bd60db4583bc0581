"""The table of flags, and the doors that it makes: signatures, descriptions, values, messages, completion."""

import inspect
from typing import Any

import numpy as np
import pytest

import capacity as cap
from capacity.commands.options import parameter
from capacity.doors import ask, door, in_keywords
from capacity.errors import InputError
from capacity.question.arguments import Asked, many, refuse_for_batches, refuse_for_engines
from capacity.question.asked import FLAGS
from capacity.question.autoscaler import read_autoscaler
from capacity.question.budget import Effort
from capacity.question.flag import REQUIRED, SWITCH, Kind
from capacity.question.parse import read_objective
from capacity.question.verbs import VERBS, keywords, typed_name


@door("simulate")
def simulated(asked: Asked) -> Asked:
    """What was asked.

    Raises:
        InputError: never.
    """
    return asked


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_says_what_it_is(verb: str) -> None:
    for name, flag in VERBS[verb].flags.items():
        assert flag.is_hidden or flag.help.endswith((".", "`.")), name
        assert isinstance(flag.kind, Kind)
        assert flag.default is not None or flag.kind is not SWITCH, name


def test_what_a_verb_may_be_asked_is_its_signature() -> None:
    taken = inspect.signature(simulated).parameters
    assert list(taken)[:4] == ["profile", "replicas", "rate", "rate_rps"]
    assert taken["profile"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert taken["rate"].kind is inspect.Parameter.KEYWORD_ONLY
    assert taken["profile"].default is inspect.Parameter.empty
    assert taken["quantile"].annotation == "float | Iterable[float] | None"
    assert taken["batch_wait"].default == "0ms"
    assert (taken["think_time"].annotation, taken["think_time_s"].annotation) == (
        "str | None",
        "float | None",
    )
    assert not {"file", "verbose", "output"} & set(taken)  # of the command alone


def test_a_verb_describes_its_keywords_and_says_what_it_raises_last() -> None:
    lines = (simulated.__doc__ or "").splitlines()
    assert lines[:3] == ["What was asked.", "", "Args:"]
    assert f"    think_time, think_time_s: {FLAGS['think_time'].help}" in lines
    assert f"    queue_limit: {FLAGS['queue_limit'].help}" in lines
    assert lines[-2:] == ["Raises:", "    InputError: never."]


def test_values_are_read_as_their_kind_is_written() -> None:
    asked = simulated("p", 2, rate="30000/min", think_time_s=0.5, cached_share="30%", prefix_caching="off")
    assert (asked.rate, asked.think_time, asked.cached_share, asked.prefix_caching) == (
        500.0, 0.5, 0.3, False,
    )  # fmt: skip
    assert (asked.quantile, simulated("p", 2, quantile=0.9).quantile) == ([], [0.9])
    assert asked["rate"] == "30000/min"
    assert (asked.replicas, asked["rate_rps"], asked.get("plot")) == (2, None, None)
    assert asked.effort == Effort()
    assert dict(asked)["queue_limit"] is None
    assert len(asked) == len(list(asked))


def test_limits_are_those_that_are_given() -> None:
    @door("plan")
    def planned(asked: Asked) -> Asked:
        """What was asked."""
        return asked

    asked = planned(
        "p", slo_p99="80ms", slo_p999_s=0.2, slo_wait_p95="5ms", slo_ttft_p90="1s", slo_mean="9ms"
    )
    assert list(map(str, read_objective(asked).limits)) == [
        "TTFT P90 <= 1 s", "P99 <= 80 ms", "P99.9 <= 200 ms", "wait P95 <= 5 ms", "mean <= 9 ms"
    ]  # fmt: skip
    with pytest.raises(InputError, match="slo_p999 and slo_p999_s are both given"):
        read_objective(planned("p", slo_p999="1s", slo_p999_s=1.0))
    with pytest.raises(
        TypeError, match="keyword argument 'slo_wait'; it is now slo_wait_p99 5ms, and so for each"
    ):
        planned("p", slo_wait=["p99=5ms"])
    with pytest.raises(TypeError, match="'target'; it is now autoscale utilization:0.6"):
        planned("p", target="utilization:0.6")

    @door("predict")
    def simulated(asked: Asked) -> Asked:
        """What was asked."""
        return asked

    with pytest.raises(TypeError, match=r"'target'(?!; it is now)"):  # which is of an autoscaler alone
        simulated("p", 2, target="utilization:0.6")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replicas": "2"}, "replicas must be a whole number, got '2'"),
        ({"replicas": 2.0}, "replicas must be a whole number, got 2.0"),
        ({"replicas": True}, "replicas must be a whole number, got True"),
        ({"replicas": None}, "replicas is None; give one"),
        ({"profile": 5}, "profile must be a name, a file, a DataFrame or a profile, got 5"),
        ({"quantile": [0.5, "0.9"]}, "quantile must be a number, got '0.9'"),
        ({"confidence": False}, "confidence must be a number, got False"),
        ({"replay": 1}, "replay must be True or False, got 1"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_keyword(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        simulated(**{"profile": "p", "replicas": 2, **given})
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("verb", "given", "said"),
    [
        (cap.simulate, {"replicas": 2, "survive": 1}, "survive must be text, got 1"),
        (cap.simulate, {"replicas": 2, "rolling_update": 0.25}, "rolling_update must be text, got 0.25"),
        (cap.plan, {"survive": ["n-1", 1]}, "survive must be text, got 1"),
        (cap.plan, {"retry_on": ["timed_out"]}, "retry_on must be text, got ['timed_out']"),
        (cap.curve, {"backoff": 0.1}, "backoff must be text, got 0.1"),
        (cap.stress, {"trigger": 3}, "trigger must be text, got 3"),
        (cap.stress, {"trigger": "lose:1,9s", "shed": 3}, "shed must be text, got 3"),
        (cap.compare, {"fleet": [1, 2]}, "fleet must be text, got 1"),
        (cap.sweep, {"replicas": 1, "between": 7}, "between must be text, got 7"),
        (cap.autoscale, {"autoscale": 0.6}, "autoscale must be text, got 0.6"),
    ],
)
def test_what_every_verb_reads_as_text_is_text(verb: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        verb(profile="p", **given)
    assert str(refused.value) == said


@pytest.mark.parametrize("given", [{"spike": "2x"}, {"pause": ["200ms,6/min"]}])
def test_trouble_that_days_do_not_have_is_refused_beside_an_autoscaler(given: dict[str, Any]) -> None:
    asked = Asked("simulate", {"daily": "day.csv", "autoscale": "utilization:0.6", **given})
    (flag,) = (name.removesuffix("_s") for name in given)
    with pytest.raises(InputError, match=f"^--{flag} is not simulated with an autoscaler; leave out one"):
        read_autoscaler(asked, 4)


def test_a_file_is_a_path_and_numbers_may_be_of_numpy() -> None:
    @door("audit")
    def audited(asked: Asked) -> Asked:
        """What was asked."""
        return asked

    with pytest.raises(InputError, match="file must be the path of a file, got a list; save it as one"):
        audited([1.0])
    asked = audited("x.csv", profile="p", users=np.float32(4), replicas=np.int64(3), seed=None)
    assert (asked.users, asked.replicas, asked.seed) == (4.0, 3, 0)
    assert (type(asked.users), type(asked.replicas)) == (float, int)


def test_a_default_gives_way_to_the_same_in_seconds() -> None:
    assert simulated("p", 2).batch_wait == 0.0
    assert simulated("p", 2, batch_wait_s=0.004).batch_wait == 0.004
    assert simulated("p", 2, batch_wait_s=np.float32(0.5)).batch_wait == 0.5
    assert (
        simulated("p", 2, rate_rps=np.int64(500)).rate == 500.0
    )  # the largest of a column, as pandas has it
    with pytest.raises(InputError, match="batch_wait and batch_wait_s are both given"):
        _ = simulated("p", 2, batch_wait="4ms", batch_wait_s=0.004).batch_wait


@pytest.mark.parametrize(
    ("verb", "given", "said"),
    [
        ("plan", {"runs": 5}, "--runs belongs to --autoscale; give that too, or leave it out"),
        ("plan", {"metric_lag_s": 0.0}, "--metric-lag belongs to --autoscale; give that too"),
        ("plan", {"shed": "none"}, "--shed belongs to --recover-within; give that too"),
        ("simulate", {"replicas_min": 0}, "--replicas-min belongs to --autoscale; give that too"),
        ("sweep", {"fresh": True}, "--fresh belongs to --output; give that too"),
        ("audit", {"replicas": 1}, "--replicas belongs to --profile; give that too"),
        ("audit", {"lengths": "l.csv"}, "--lengths belongs to --profile or --plan; give that too"),
        ("workload", {"quantile": 0.99}, "--quantile belongs to --profile; give that too"),
        ("compare", {"plans": ["a", "b"], "profile": ["p"]}, "--profile belongs to --fleet; give that too"),
        ("compare", {"plans": ["a"], "fleet": ["f"], "kv_tokens": 9}, "--kv-tokens belongs to --profile; give"),
        ("compare", {"plans": ["a"], "hedge_s": 0.1}, "a saved plan has its own clients, or none; leave out --hedge"),
        ("compare", {"plans": ["a"], "replicas_min": 1}, "saved plans are compared as fixed fleets"),
        ("compare", {"plans": ["a"], "users": 3}, "a saved plan has its own traffic; leave out --users"),
        ("stress", {"plan": "p", "arrivals": "poisson"}, "a saved plan has its own traffic; leave out --arrivals"),
        ("autoscale", {"plan": "p", "batching": "triton"}, "a saved plan has its own settings; leave out --batching"),
        ("stress", {"only_verdict": True, "replicas_max": 1024},
         "--only-verdict leaves out what --replicas-max is for; leave out one of the two"),
    ],
)  # fmt: skip
def test_a_flag_that_would_change_nothing_is_refused_even_if_it_is_the_default(
    verb: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as refused:
        Asked(verb, given)
    assert str(refused.value).startswith(said)


def test_what_is_left_out_and_a_switch_that_is_off_are_not_told() -> None:
    Asked("plan", {"runs": None, "shed": None})
    Asked("sweep", {"fresh": False})
    Asked("compare", {"plans": [], "users": 3, "fleet": ["a", "b"], "profile": ["p"]})
    Asked("plan", {"runs": 5}, told=())  # from a file of defaults, which need not fit every command
    Asked("plan", {"runs": 5, "autoscale": "any"})


def test_flags_that_belong_to_another_are_flags_of_the_verb() -> None:
    for verb in VERBS.values():
        for related in (verb.needs, verb.idle):
            names = {name for pair in related.items() for text in pair for name in text.split()}
            assert names <= verb.flags.keys()


def test_an_unknown_keyword_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        TypeError, match=r"simulated\(\) got an unexpected keyword argument 'batch_wai'; did you mean"
    ):
        simulated("p", 2, batch_wai="4ms")
    with pytest.raises(TypeError, match="'spike'; it is asked here as trigger spike:2x,30s"):
        cap.stress("p", rate="9rps", replicas=2, trigger="lose:1,9s", spike="2x")
    with pytest.raises(TypeError, match=r"simulated\(\) missing a required argument: 'replicas'$"):
        simulated("p")


def test_messages_name_keywords_in_python_and_flags_in_a_command() -> None:
    @door("check")
    def refuses(asked: Asked) -> None:
        """Refuse."""
        raise InputError("--without-recovery needs --plan; see capacity plan --rate 5rps, or --max-num-seqs")

    with pytest.raises(
        InputError, match="^without_recovery needs plan; see capacity plan --rate 5rps, or --max-num-seqs$"
    ):
        refuses("plan.json")
    with pytest.raises(InputError, match="^--without-recovery needs --plan"):
        ask(refuses, {"plan": "plan.json", "output": "table"})
    assert in_keywords("--class and --as and --map") == "request_class and kind and spike_map"


def test_a_verb_that_another_calls_leaves_messages_to_that() -> None:
    @door("report")
    def inner(asked: Asked) -> None:
        """Refuse."""
        raise InputError("give --arrivals")

    @door("report")
    def outer(asked: Asked) -> None:
        """Call."""
        inner(asked.plan, asked.output)

    with pytest.raises(InputError, match="^give arrivals$"):
        outer("plan.json", "page.html")
    with pytest.raises(InputError, match="^give arrivals$"):
        inner("plan.json", "page.html")
    with pytest.raises(InputError, match="^give --arrivals$"):
        ask(outer, {"plan": "plan.json", "file": "page.html"})


@pytest.mark.parametrize(
    "text", ["cannot read my--rate.csv: check it", "read --rate.csv, --plan/a.csv", "got '--rate'"]
)
def test_what_users_named_stays_as_it_is(text: str) -> None:
    assert in_keywords(text) == text


def test_a_command_gives_its_verb_what_that_takes() -> None:
    given = {"profile": "p", "replicas": 2, "file": "x.csv", "verbose": True, "as_json": False}
    asked = ask(simulated, given)
    assert (asked.profile, asked.replicas, "file" in asked, "as_json" in asked) == ("p", 2, False, False)


def test_what_may_be_repeated_is_a_list() -> None:
    frame = type("Frame", (list,), {"columns": ()})([1])
    assert many(None) == []
    assert many("ab") == ["ab"]
    assert many((1, 2)) == [1, 2]
    assert many(frame) == [frame]


def test_each_kind_of_server_refuses_what_it_does_not_have() -> None:
    for name, flag in FLAGS.items():
        assert not (flag.of_engines and flag.engines_lack), name
        value: Any = True if flag.kind is SWITCH else 7
        if flag.of_engines:
            with pytest.raises(InputError, match=f"^{typed_name(name, flag)} is for language models"):
                refuse_for_batches({name: value})
        elif flag.engines_lack:
            with pytest.raises(
                InputError, match=f"^leave out {typed_name(name, flag)} for a language model: "
            ):
                refuse_for_engines({name: value})


def test_a_keyword_has_the_name_of_its_flag_but_where_python_has_another() -> None:
    named = {
        (verb, one, flag.keyword) for verb in VERBS for one, flag in VERBS[verb].flags.items() if flag.keyword
    }
    assert named == {("report", "file", "output")}
    assert list(keywords("report"))[:2] == ["plan", "output"]
    assert VERBS["report"].flags["file"].default is REQUIRED


@pytest.mark.parametrize(
    ("flag", "typed", "offered"),
    [
        ("routing", "p", ["power-of-two", "power-of-two:haproxy", "power-of-two:nginx"]),
        ("trigger", "s", ["spike:2x,30s", "spot:1,2min,10min", "straggler:3x,60s"]),
        ("profile", "resnet50-t", ["resnet50-t4-fp16"]),
        ("profile", "qwen3-3", ["qwen3-32b-rtx-pro-6000-bf16"]),
    ],
)
def test_completion_offers_what_a_flag_takes(flag: str, typed: str, offered: list[str]) -> None:
    assert completion(flag)(typed) == offered


def test_completion_offers_files_of_profiles(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.csv", "mine.txt", "mine.json", "packed.CSV.gz", ".hidden.csv"):
        (tmp_path / name).touch()
    (tmp_path / "minor").mkdir()
    assert completion("profile")("min") == ["mine.csv", "mine.json", "minor/"]
    assert completion("profile")("pack") == ["packed.CSV.gz"]
    assert (".hidden.csv" in completion("profile")(""), completion("profile")(".h")) == (
        False,
        [".hidden.csv"],
    )
    assert completion("profile")(f"{tmp_path}/mine.c") == [f"{tmp_path}/mine.csv"]
    assert completion("profile")("gone/x") == []
    monkeypatch.setenv("_CAPACITY_COMPLETE", "complete_bash")  # which does files better itself
    assert completion("profile")("min") == []


def completion(flag: str) -> Any:
    return (
        parameter(flag, VERBS["plan"].flags.get(flag) or FLAGS[flag])
        .annotation.__metadata__[0]
        .autocompletion
    )


def test_a_verb_has_the_name_of_its_command() -> None:
    assert {"plan", "simulate", "sweep", "compare", "check", "explain", "curve", "report"} <= set(dir(cap))
    with pytest.raises(AttributeError, match=r"'load_curve'; it is now cap\.curve$"):
        _ = cap.load_curve


def test_the_public_verbs_are_doors() -> None:
    for name in ("plan", "simulate", "sweep", "compare", "check", "stress", "autoscale"):
        assert hasattr(getattr(cap, name), "body"), name
