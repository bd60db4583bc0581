"""What `capacity profile` refuses before it measures anything: both sides of every bound."""

from pathlib import Path
from typing import Any

import pytest

from capacity.commands.measure import _asked, _histograms, _of_metrics, _read_name, _source, _timeout_s
from capacity.errors import InputError
from capacity.files import TEXT_LENGTH_MAX

URL = "http://127.0.0.1:9/metrics"


@pytest.mark.parametrize(("text", "seconds"), [("1ms", 0.001), ("10s", 10.0), ("600s", 600.0)])
def test_timeouts_are_read(text: str, seconds: float) -> None:
    assert _timeout_s(text) == seconds


@pytest.mark.parametrize("text", ["0.9ms", " 601s", "0s"])
def test_a_timeout_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        _timeout_s(text)
    assert str(refused.value) == f"--timeout must be from 1ms to 600s, got {text.strip()}"


def sources(**given: str | None) -> dict[str, str | None]:
    return {f"--{name}": given.get(name) for name in ("callable", "url", "metrics", "llm")}


def test_exactly_one_source_is_measured() -> None:
    assert _source(sources(callable="a:b"), None) == "--callable"
    assert _source(sources(url=URL), "row.json") == "--url"
    assert _source(sources(llm=URL), None) == "--llm"
    for given, told in ((sources(), "got none"), (sources(url=URL, llm=URL), "got --url and --llm")):
        with pytest.raises(InputError, match=f"give one of --callable, --url, --metrics, --llm, {told};"):
            _source(given, None)
    for given, body in ((sources(url=URL), None), (sources(metrics=URL), "row.json")):
        with pytest.raises(InputError, match="give --url and --body FILE.json together"):
            _source(given, body)


def test_a_profile_is_named_by_its_flag_or_its_file() -> None:
    assert _read_name("mine", Path("other.json")) == "mine"
    assert _read_name("mine", None) == "mine"
    assert _read_name(None, Path("folder/other.json")) == "other"
    assert _read_name(None, None) == "measured"


def asked(**others: Any) -> Any:
    usual: dict[str, Any] = {"model": None, "device": None, "precision": None, "runtime": None}
    kind, price = others.pop("kind", None), others.pop("hourly_usd", None)
    return _asked("mine", kind, price, usual | others)


def test_fields_that_cannot_be_measured_come_from_flags() -> None:
    found = asked(model="m" * 200, kind="gpu", hourly_usd=0.5)
    assert (found.name, found.model, found.kind, found.hourly_usd) == ("mine", "m" * 200, "gpu", 0.5)
    assert asked().kind is None
    with pytest.raises(InputError, match=r"--kind must be .*cpu.*, got 'tpu'"):
        asked(kind="tpu")


def test_texts_must_be_one_short_line() -> None:
    assert asked(device="d" * TEXT_LENGTH_MAX).device == "d" * TEXT_LENGTH_MAX
    for text in ("d" * (TEXT_LENGTH_MAX + 1), "two\nlines"):
        with pytest.raises(
            InputError, match=f"--device must be one line of {TEXT_LENGTH_MAX} characters at most"
        ):
            asked(device=text)


def test_histograms_have_a_unit() -> None:
    found = _histograms("batch_seconds", "size", None)
    assert (found.metric, found.label, found.unit_s) == ("batch_seconds", "size", 1.0)
    assert _histograms("batch_seconds", "size", "ms").unit_s == 0.001
    assert _histograms("batch", "size", "us").unit_s == 1e-6
    with pytest.raises(InputError, match="--metric 'batch' does not end in _seconds; give its unit"):
        _histograms("batch", "size", None)
    with pytest.raises(InputError, match="--metric-unit 'years' is unknown; use one of"):
        _histograms("batch", "size", "years")


def test_the_duration_of_watching_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 s by default, a week at most."""
    seen: list[float] = []
    monkeypatch.setattr(
        "capacity.measurement.counted.measure_metrics", lambda *_, duration_s, **__: seen.append(duration_s)
    )
    where = _histograms("batch_seconds", "size", None)
    for text in (None, "1ms", "168h"):
        _of_metrics(URL, where, text, 1.0, 0.95)
    assert seen == [30.0, 0.001, 604_800.0]
    with pytest.raises(InputError, match="--duration must be above 0s and at most 168h, got 169h"):
        _of_metrics(URL, where, "169h", 1.0, 0.95)
    with pytest.raises(InputError, match="--duration must be"):
        _of_metrics(URL, where, "0s", 1.0, 0.95)
