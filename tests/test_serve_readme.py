"""What the server's README lists is what there is."""

import re

import typer
from serving import ROOT, MadeUp, application

from serve_api.commands import app
from serve_api.http_protocol import OVERHEAD_BYTES_MAX
from serve_api.refusal import STATUS

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
    served = application(MadeUp())
    served.service.rollout.serving.requests(200)
    served.service.rollout.serving.batch_seconds(1)
    served.service.metrics.reloads.labels("swapped")
    told = {}
    for family in served.service.metrics.registry.collect():
        for sample in family.samples:
            name = re.sub("_(bucket|count|sum)$", "", sample.name)
            if name.startswith("serve_"):
                told.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert listed == told


def test_the_limit_below_http_is_the_one_that_is_told():
    assert f"({OVERHEAD_BYTES_MAX // 1024} KiB of request line" in TEXT
