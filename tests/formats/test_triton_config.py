"""Configurations of Triton's models, written by its schema; nothing here is a file of somebody's repository."""

import re

import pytest
from reading import example, read_bytes, refusal

from capacity.formats.document import Document
from capacity.formats.registry import Kind
from capacity.formats.running_plan import RunningPlan
from capacity.formats.triton_config import _message

FULL = example("triton_config_full.pbtxt")
EXAMPLES = {"full": FULL, "short": b'backend: "python"\nmax_batch_size: 16\n'}


def plan(text: str) -> RunningPlan:
    found = read_bytes(text, Kind.PLAN)
    assert isinstance(found, RunningPlan)
    return found


def test_all_settings_are_read() -> None:
    found = plan(FULL)
    assert (found.name, found.batch_size_max, found.preferred_batch_sizes) == ("resnet", 32, (8, 16))
    assert found.batch_wait_max_s == pytest.approx(0.0025)
    assert (found.replicas, found.queue_limit, found.device_kind) == (5, 128, "gpu")


def test_settings_are_told_as_flags_that_simulate_takes() -> None:
    """Instances of one server share the model's queue, whose limit is Triton's max_queue_size."""
    assert plan(FULL).flags == (
        "--replicas 5 --batch-size-max 32 --batch-wait 2.5ms --routing shared-queue --queue-limit 128 "
        "--preferred-sizes 8,16"
    )
    assert plan("max_batch_size: 8\ndynamic_batching { }").flags == "--replicas 1 --batch-size-max 8"
    assert any("max_queue_size is of the model's one queue" in note for note in plan(FULL).notes)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("timeout_action: REJECT default_timeout_microseconds: 100000", "longer than 100 ms in the queue is rejected"),
        ("default_timeout_microseconds: 2500", "longer than 2.5 ms in the queue is rejected (timeout_action REJECT)"),
        ("timeout_action: DELAY default_timeout_microseconds: 1000000", "is served after all others"),
    ],
)  # fmt: skip
def test_a_queue_s_timeout_is_told(policy: str, said: str) -> None:
    text = f"max_batch_size: 4\ndynamic_batching {{ default_queue_policy {{ {policy} }} }}"
    assert any(said in note for note in plan(text).notes)


def test_a_timeout_of_0_is_none_and_priorities_are_told() -> None:
    text = "max_batch_size: 4\ndynamic_batching { priority_levels: 2 default_queue_policy { timeout_action: REJECT } }"
    notes = " ".join(plan(text).notes)
    assert "timeout_action" not in notes
    assert "priority_levels serves some requests before others" in notes


def test_without_dynamic_batching_no_batch_is_formed() -> None:
    found = plan('backend: "python"\nmax_batch_size: 16\ninstance_group [{ count: 3 kind: KIND_CPU }]')
    assert (found.batch_size_max, found.batch_wait_max_s, found.replicas) == (1, 0.0, 3)
    assert (found.queue_limit, found.device_kind) == (None, "cpu")
    assert any("there is no dynamic_batching block" in note for note in found.notes)


def test_passive_instances_serve_nothing() -> None:
    groups = "instance_group [ { count: 2 kind: KIND_CPU }, { count: 9 kind: KIND_CPU passive: true } ]"
    assert plan(f"max_batch_size: 8\n{groups}").replicas == 2


def test_an_empty_block_batches_without_a_wait() -> None:
    found = plan("max_batch_size: 8\ndynamic_batching { }\n")
    assert (found.batch_size_max, found.batch_wait_max_s, found.replicas) == (8, 0.0, 1)
    assert any("one instance is assumed" in note for note in found.notes)


REFUSED = [
    (text, said, Kind.PLAN)
    for text, said in [
        ("max_batch_size: 4\ninput [", "line 2: not the text format of protocol buffers (a value was expected"),
        ("max_batch_size: 4 }", "a name of a field was expected, got '}'"),
        ("max_batch_size: 4.5\n", "max_batch_size must be a whole number from 0, got '4.5'"),
        ("max_batch_size: 4\ndynamic_batching: 3", "dynamic_batching must be a block"),
        ("max_batch_size: 4\ndynamic_batching { preferred_batch_size: 9 }", "from 1 to 4, the largest batch"),
        (
            "max_batch_size: 4\ndynamic_batching { max_queue_delay_microseconds: 9999999999 }",
            "batch_wait_max_s must be from 0 to 3600, got 9999.999999",
        ),
        ("max_batch_size: 9999999 dynamic_batching {}", "batch_size_max must be from 1"),
        ("max_batch_size: 4\nname { }", "name must be a value, not a block"),
        ("max_batch_size: 4\n" + "a {" * 60, "nested more than 50 deep"),
        ("max_batch_size: 4\n\x00", "'?' is not expected"),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("written", "count"), [("9", 9), ("0x1F", 31), ("0X1f", 31), ("017", 15), ("0", 1)])
def test_whole_numbers_are_decimal_hexadecimal_or_octal(written: str, count: int) -> None:
    """A group of no instance has one, as the server makes it."""
    found = plan(f"max_batch_size: 1\ninstance_group {{ count: {written} kind: KIND_CPU }}")
    assert (found.replicas, found.notes) == (count, ())


def test_a_group_that_names_no_gpus_is_counted_for_one() -> None:
    """Groups of several kinds leave the kind of the device open."""
    groups = "instance_group [ { count: 2 }, { kind: KIND_CPU }, { kind: KIND_GPU count: 3 gpus: 0 } ]"
    found = plan(f"max_batch_size: 1\n{groups}")
    assert (found.name, found.replicas, found.device_kind) == ("model", 6, None)
    assert found.notes == ("a group of kind KIND_AUTO names no gpus; it is counted for one GPU",)
    other = plan("max_batch_size: 1\ninstance_group { kind: KIND_GPU }")
    assert (other.replicas, other.device_kind) == (1, "gpu")
    assert other.notes == ("a group of kind KIND_GPU names no gpus; it is counted for one GPU",)


def test_of_a_field_given_twice_the_last_counts() -> None:
    text = "max_batch_size: 8\nmax_batch_size: 4\ndynamic_batching { }\ndynamic_batching { max_queue_delay_microseconds: 7 }"
    found = plan(text)
    assert (found.batch_size_max, found.batch_wait_max_s) == (4, pytest.approx(7e-6))


def test_what_there_is_none_of_has_no_note() -> None:
    text = (
        "max_batch_size: 8\ninstance_group { kind: KIND_CPU }\ndynamic_batching { priority_levels: 1 "
        "default_queue_policy { max_queue_size: 0 default_timeout_microseconds: 0 } }"
    )
    assert plan(text).queue_limit is None
    assert plan(text).notes == ()
    unbounded = plan("max_batch_size: 8\ndynamic_batching { default_queue_policy { } }")
    assert unbounded.queue_limit is None
    assert unbounded.notes == (
        "no instance_group: one instance is assumed, as on a machine with one GPU or none",
    )


@pytest.mark.parametrize("field", ["sequence_batching", "ensemble_scheduling"])
def test_what_is_not_read_is_told(field: str) -> None:
    """A field is followed by a block with a colon or without."""
    kinds = {"sequence_batching": "requests of a sequence", "ensemble_scheduling": "this is an ensemble"}
    (note,) = plan(f"max_batch_size: 1\ninstance_group: [{{kind: KIND_CPU}}]\n{field} {{ }}").notes
    assert kinds[field] in note


def test_fifty_blocks_may_be_nested() -> None:
    assert plan("max_batch_size: 4\n" + "a {" * 50 + "}" * 50).batch_size_max == 1
    assert "nested more than 50" in refusal("max_batch_size: 4\n" + "a {" * 51 + "}" * 51, Kind.PLAN)


@pytest.mark.parametrize("text", ["max_batch_size: 4" + "x" * 60, "max_batch_size: 4 -" + "x" * 60 + " : 3"])
def test_a_refusal_shows_the_begin_of_a_long_word(text: str) -> None:
    assert re.search(r"got '[-4]x{59}'", refusal(text, Kind.PLAN))


REFUSED += [
    (text, said, Kind.PLAN)
    for text, said in [
        ("max_batch_size: 4\n[a.b", "line 2: not the text format of protocol buffers (a bracket is not closed)"),
        ("max_batch_size: 4\nname: ]", "a value was expected, got ']'"),
        ('max_batch_size: 4\nname "net"', "a value was expected, got '\"net\"'"),
    ]
]  # fmt: skip


def test_google_s_own_parser_reads_the_same() -> None:
    """With tritonclient[grpc], which has the server's schema; it is large, and nothing else here needs it."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    text_format = pytest.importorskip("google.protobuf.text_format")
    text = "\n".join(line for line in FULL.splitlines() if "nvidia.future" not in line)
    theirs = text_format.Parse(text, schema.ModelConfig(), allow_unknown_field=True)
    ours = _message(Document("config.pbtxt", text))
    assert ours["name"] == [theirs.name]
    assert [[int(size, 0) for size in one["dims"]] for one in ours["input"]] == [
        list(one.dims) for one in theirs.input
    ]
    batching = ours["dynamic_batching"][0]
    assert list(map(int, batching["preferred_batch_size"])) == list(
        theirs.dynamic_batching.preferred_batch_size
    )
    assert batching["max_queue_delay_microseconds"] == [
        str(theirs.dynamic_batching.max_queue_delay_microseconds)
    ]
    assert [(one["kind"], list(map(int, one["gpus"]))) for one in ours["instance_group"]] == [
        (["KIND_GPU"], list(one.gpus)) for one in theirs.instance_group
    ]


@pytest.mark.parametrize("size", [0, 1])
def test_a_batch_holds_one_at_least(size: int) -> None:
    found = plan(f"max_batch_size: {size}\ndynamic_batching {{ max_queue_delay_microseconds: 1 }}")
    assert found.batch_size_max == 1


def test_long_words_are_cut_in_notes_and_refusals() -> None:
    assert "got '" + "y" * 60 + "'" in refusal("max_batch_size: 1\nname " + "y" * 61, Kind.PLAN)


def test_too_many_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.formats.triton_config._TOKENS_MAX", 6)
    assert plan("max_batch_size: 1\n#x").batch_size_max == 1
    assert "has more than 6 words" in refusal("max_batch_size: 1\n#x\n", Kind.PLAN)
