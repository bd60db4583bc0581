"""What the server's README lists is what there is."""

import re

import typer
from prometheus_client.parser import text_string_to_metric_families
from serving import ROOT, MadeUp, service_of

from serve_api.commands import app
from serve_api.server.refusal import STATUS

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


def test_metrics_are_those_that_are_told():
    listed = {
        name: set(re.findall("[a-z_]+", labels)) for name, labels in rows(r"`(serve_[a-z_]+)` \|([^|]*)")
    }
    metrics = service_of(MadeUp()).metrics
    metrics.requests.labels("200", "v1.0.0")
    metrics.request_seconds.labels("v1.0.0")
    metrics.batch_seconds.labels("v1.0.0", "1")
    metrics.batches.labels("v1.0.0", "ok")
    metrics.reloads.labels("swapped")
    told = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            name = re.sub("_(bucket|count|sum)$", "", sample.name)
            if name.startswith("serve_"):
                told.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert listed == told
