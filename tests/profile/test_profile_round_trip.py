"""A profile that is written is the profile that is read."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.answers.evidence import _write_profile
from capacity.profile.contention import measured
from capacity.profile.formats import digest, parse_json, profile_to_document
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile

laws_hold = settings(derandomize=True, deadline=None, max_examples=200)
texts = st.none() | st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=30)
seconds = st.floats(1e-6, 100.0)
sampled = st.lists(seconds, min_size=1, max_size=20).map(lambda samples: {"samples_s": tuple(samples)})
summed = st.tuples(seconds, st.floats(1.0, 1.5), st.booleans()).map(
    lambda drawn: {"mean_s": drawn[0], **({"p99_s": drawn[0] * drawn[1]} if drawn[2] else {})}
)


@st.composite
def profiles(draw) -> ServiceProfile:
    sizes = draw(st.sets(st.integers(1, 10_000), min_size=1, max_size=5))
    slowdowns = draw(st.lists(st.floats(1.0, 3.0), max_size=3))
    return ServiceProfile(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        timings=tuple(BatchTiming(batch_size=size, **draw(sampled | summed)) for size in sizes),
        model=draw(texts),
        device=draw(texts),
        kind=draw(st.sampled_from([None, "cpu", "gpu"])),
        precision=draw(texts),
        runtime=draw(texts),
        batch_work_s=draw(st.just(0.0) | seconds),
        request_work_s=draw(st.just(0.0) | seconds),
        wake_s=draw(st.just(0.0) | seconds),
        request_overhead_s=draw(st.just(0.0) | seconds),
        contention=measured([1.0, *sorted(slowdowns)]) if slowdowns else None,
        hourly_usd=draw(st.none() | st.floats(1e-3, 1e3)),
        memory_bytes=draw(st.none() | st.integers(0, 2**50)),
        source=draw(st.dictionaries(st.sampled_from(["cpu", "date", "measured_by"]), texts.filter(bool))),
    )


@laws_hold
@given(profile=profiles())
def test_written_and_read_is_the_same(profile, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "profile.json"
    _write_profile(path, profile_to_document(profile))
    assert load_profile(str(path)) == profile
    assert json.loads(path.read_text(encoding="utf-8"))["schema_version"] == 1


def test_what_was_there_is_replaced_and_nothing_lies_beside(tmp_path):
    profile = ServiceProfile(name="a", timings=(BatchTiming(batch_size=1, samples_s=(0.001, 0.002)),))
    path = tmp_path / "a.json"
    path.write_text("old", encoding="utf-8")
    _write_profile(path, profile_to_document(profile))
    assert parse_json(path.read_text(encoding="utf-8"), "a.json") == profile
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_digest_is_of_canonical_json():
    assert digest({"b": 1, "a": [1.5]}) == hashlib.sha256(b'{"a":[1.5],"b":1}').hexdigest()
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})
