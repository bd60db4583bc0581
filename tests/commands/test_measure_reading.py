"""What `capacity profile` refuses before it measures anything: both sides of every bound."""

from typing import Any

import pytest

from capacity.api.profile import _of_metrics, _timeout_s, asked_histograms, asked_profile, asked_source
from capacity.errors import InputError
from capacity.files import TEXT_LENGTH_MAX
from capacity.measurement.rounds import Rounds

URL = "http://127.0.0.1:9/metrics"


@pytest.mark.parametrize(("text", "seconds"), [("1ms", 0.001), ("10s", 10.0), ("600s", 600.0)])
def test_timeouts_are_read(text: str, seconds: float) -> None:
    assert _timeout_s({"timeout": text}) == _timeout_s({"timeout": None, "timeout_s": seconds}) == seconds


@pytest.mark.parametrize("text", ["0.9ms", " 601s", "0s"])
def test_a_timeout_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        _timeout_s({"timeout": text})
    assert str(refused.value) == f"--timeout must be from 1ms to 600s, got {text.strip()}"


def sources(**given: str | None) -> dict[str, str | None]:
    return dict.fromkeys(("callable_name", "url", "metrics", "llm", "body")) | given


def test_exactly_one_source_is_measured() -> None:
    assert asked_source(sources(callable_name="a:b")) == "--callable"
    assert asked_source(sources(url=URL, body="row.json")) == "--url"
    assert asked_source(sources(llm=URL)) == "--llm"
    assert asked_source({**sources(), "function": len}) == "--callable"
    for given, told in ((sources(), "got none"), (sources(url=URL, llm=URL), "got --url and --llm")):
        with pytest.raises(InputError, match=f"give one of --callable, --url, --metrics, --llm, {told};"):
            asked_source(given)
    for given in (sources(url=URL), sources(metrics=URL, body="row.json")):
        with pytest.raises(InputError, match="give --url and --body FILE.json together"):
            asked_source(given)


def asked(**others: Any) -> Any:
    names = ("model", "device", "precision", "runtime", "kind", "hourly_usd")
    return asked_profile({"name": "mine", **dict.fromkeys(names), **others})


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


def histograms(metric: str, unit: str | None) -> Any:
    return asked_histograms({"metric": metric, "label": "size", "metric_unit": unit})


def test_histograms_have_a_unit() -> None:
    found = histograms("batch_seconds", None)
    assert (found.metric, found.label, found.unit_s) == ("batch_seconds", "size", 1.0)
    assert histograms("batch_seconds", "ms").unit_s == 0.001
    assert histograms("batch", "us").unit_s == 1e-6
    with pytest.raises(InputError, match="--metric 'batch' does not end in _seconds; give its unit"):
        histograms("batch", None)
    with pytest.raises(InputError, match="--metric-unit 'years' is unknown; use one of"):
        histograms("batch", "years")


def test_the_duration_of_watching_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 s by default, a week at most."""
    seen: list[float] = []
    monkeypatch.setattr(
        "capacity.measurement.counted.measure_metrics", lambda *_, duration_s, **__: seen.append(duration_s)
    )

    def watch(duration: str | None) -> None:
        given: dict[str, Any] = {
            "metric": "batch_seconds",
            "label": "size",
            "metric_unit": None,
            "metrics": URL,
        }
        given |= {"duration": duration, "confidence": 0.95}
        _of_metrics(given, Rounds(batch_sizes=(1,)), 1.0, print)

    for text in (None, "1ms", "168h"):
        watch(text)
    assert seen == [30.0, 0.001, 604_800.0]
    with pytest.raises(InputError, match="--duration must be above 0s and at most 168h, got 169h"):
        watch("169h")
    with pytest.raises(InputError, match="--duration must be"):
        watch("0s")
