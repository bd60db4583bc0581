"""What the server's README lists is what there is."""

import re

import typer
from prometheus_client.parser import text_string_to_metric_families
from serving import ROOT, MadeUp, application

from serve_api.commands import app
from serve_api.http_protocol import (
    AHEAD_BYTES_MAX,
    HEADERS_MAX,
    OVERHEAD_BYTES_MAX,
    PROBE_CONNECTIONS,
    UNSENT_BYTES_MAX,
)
from serve_api.open_files import FILES_BESIDE
from serve_api.refusal import STATUS, Reason

TEXT = (ROOT / "serve_api" / "README.md").read_text(encoding="utf-8")


def rows(pattern):
    return [match.groups() for match in re.finditer(rf"^\| {pattern} \|", TEXT, re.M)]


def test_flags_and_defaults_are_those_of_the_command():
    listed = {flag: default.strip("` ") for flag, default in rows(r"`(--[a-z-]+)` \|([^|]*)")}
    options = {
        option.opts[0]: "" if option.default in (None, ()) else str(option.default)
        for option in typer.main.get_command(app).params
        if option.name != "help"
    }
    assert listed == options


def test_reasons_and_statuses_are_those_of_the_server():
    listed = {reason: int(status) for reason, status in rows(r"`([a-z_]+)` \| (\d{3})")}
    assert listed == {reason.value: status for reason, status in STATUS.items()}


def test_every_reason_is_told():
    assert {reason for reason in Reason if f"`{reason}`" not in TEXT} == set()


def test_metrics_are_those_that_are_told():
    listed = {
        name: set(re.findall("[a-z_]+", labels)) for name, labels in rows(r"`(serve_[a-z_]+)` \|([^|]*)")
    }
    served = application(MadeUp())
    served.service.rollout.serving.requests(200)
    served.service.rollout.serving.batch_seconds(1)
    served.service.metrics.reloads.labels("swapped")
    told = {}
    for family in text_string_to_metric_families(served.service.metrics.text().decode()):
        for sample in family.samples:
            name = re.sub("_(bucket|count|sum)$", "", sample.name)
            if name.startswith("serve_"):
                told.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert listed == told


def test_limits_below_http_are_those_that_are_told():
    assert f"{OVERHEAD_BYTES_MAX // 1024} KiB of request line" in TEXT
    assert f"together, or {HEADERS_MAX} headers" in TEXT
    assert f"the answer to the one before, {AHEAD_BYTES_MAX // 1024} KiB of them" in TEXT
    assert f"more than {UNSENT_BYTES_MAX // 1024} KiB are unread" in TEXT
    assert f"{PROBE_CONNECTIONS} more may ask" in TEXT
    assert f"must allow {FILES_BESIDE} more open files" in TEXT
