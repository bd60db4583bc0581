"""Settings: from flags and the environment, valid or not born."""

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from capacity.errors import InputError
from serve_api.commands import app
from serve_api.server import process
from serve_api.server.settings import Settings, flag_of, read_settings


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The settings that the command serves by."""

    def run(*arguments, env=None):
        found = []
        monkeypatch.setattr(process, "serve", found.append)
        done = CliRunner().invoke(app, ["--artifacts", str(tmp_path), *arguments], env=env)
        return (found or [None])[0], done

    return run


def test_without_flags_they_are_the_defaults(served, tmp_path):
    found, done = served()
    assert done.exit_code == 0, done.output
    assert found == Settings(artifacts=tmp_path)
    assert (found.batch_size_max, found.batch_wait_max_s, found.request_rows_max) == (32, 0.005, 32)


def test_flags_and_the_environment_are_read_and_flags_win(served):
    env = {"SERVE_BATCH_WAIT_MAX": "2ms", "SERVE_QUEUE_MAX": "7", "SERVE_CORS_ORIGIN": "https://a https://b"}
    found, done = served("--queue-max", "9", "--rows-max", "4", "--canary-share", "0.5", env=env)
    assert done.exit_code == 0, done.output
    assert (found.batch_wait_max_s, found.queue_max, found.rows_max) == (0.002, 9, 4)
    assert found.cors_origin == ("https://a", "https://b")
    assert found.canary_share == 0.5


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--batch-size-max", "0", "--batch-size-max: Input should be greater than or equal to 1, got '0'"),
        ("--batch-wait-max", "5", "has no unit; write 5ms"),
        ("--deadline", "0s", "--deadline: "),
        ("--canary-share", "1.5", "--canary-share: "),
        ("--port", "65536", "--port: "),
        ("--rows-max", "33", "--rows-max 33 is more than --batch-size-max 32"),
    ],
)
def test_what_is_wrong_is_refused_by_the_name_of_its_flag(served, flag, value, said):
    found, done = served(flag, value)
    assert (found, done.exit_code) == (None, 2)
    assert said in done.output
    assert done.output.count("\n") == 1


def test_a_store_is_needed():
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "--artifacts is missing" in done.output


def test_they_cannot_be_changed_nor_have_unknown_fields(tmp_path):
    with pytest.raises(ValidationError):
        Settings(artifacts=tmp_path).port = 1
    with pytest.raises(InputError, match="--more: Extra inputs are not permitted"):
        read_settings({"artifacts": tmp_path, "more": 1})


LIMITS = [
    ("port", 0, 65_535, -1, 65_536),
    ("batch_size_max", 1, 65_536, 0, 65_537),
    ("threads", 1, 1024, 0, 1025),
    ("inference_nice", 0, 19, -1, 20),
    ("queue_max", 1, 1_000_000, 0, 1_000_001),
    ("breaker_failures", 1, 1_000_000, 0, 1_000_001),
    ("body_bytes_max", 64, 2**30, 63, 2**30 + 1),
    ("canary_share", 0.0, 1.0, -0.01, 1.01),
    ("batch_wait_max_s", 0.0, "1h", -0.01, 3600.5),
    ("drain_delay_s", 0.0, 3600.0, -0.01, 3600.5),
    ("inference_time_max_s", "1ms", 3600.0, 0.0009, 3600.5),
    ("deadline_s", 0.001, 3600.0, 0.0009, 3600.5),
    ("breaker_cooldown_s", 0.001, 3600.0, 0.0009, 3600.5),
    ("poll_interval_s", 0.001, 3600.0, 0.0009, 3600.5),
    ("drain_max_s", 1.0, 3600.0, 0.99, 3600.5),
]


@pytest.mark.parametrize(("name", "least", "most", "below", "above"), LIMITS, ids=[one[0] for one in LIMITS])
def test_each_setting_has_a_range(tmp_path, name, least, most, below, above):
    for value in (least, most):
        Settings(artifacts=tmp_path, rows_max=1, **{name: value})
    for value in (below, above):
        with pytest.raises(InputError, match=f"^{flag_of(name)}: "):
            read_settings({"artifacts": tmp_path, "rows_max": 1, name: value})


def test_a_request_has_at_most_the_rows_of_a_batch(tmp_path):
    assert Settings(artifacts=tmp_path, batch_size_max=8, rows_max=8).request_rows_max == 8
    assert Settings(artifacts=tmp_path, batch_size_max=8).request_rows_max == 8
    with pytest.raises(InputError, match="^--rows-max 9 is more than --batch-size-max 8"):
        read_settings({"artifacts": tmp_path, "batch_size_max": 8, "rows_max": 9})
