"""Settings: from flags and the environment, valid or not born."""

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from capacity.errors import InputError
from serve_api.commands import app
from serve_api.server import process
from serve_api.server.settings import Settings, read_settings


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
