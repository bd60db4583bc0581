"""Settings of the server: valid or not born, and read with their units."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from capacity.errors import InputError
from serve_api.commands import app
from serve_api.reading_settings import read_artifacts
from serve_api.settings import (
    AccessSettings,
    BatchSettings,
    BreakerSettings,
    InferenceSettings,
    LimitSettings,
    ListenSettings,
    RolloutSettings,
    Settings,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (BatchSettings, {"size_max": 0}),
        (BatchSettings, {"wait_max_s": -0.001}),
        (BatchSettings, {"wait_max_s": NAN}),
        (InferenceSettings, {"threads": 0}),
        (InferenceSettings, {"nice": 20}),
        (InferenceSettings, {"nice": -1}),
        (InferenceSettings, {"time_max_s": 0.0}),
        (LimitSettings, {"queue_max": 0}),
        (LimitSettings, {"in_flight_max": 0}),
        (LimitSettings, {"connections_max": 0}),
        (LimitSettings, {"rows_max": 0}),
        (LimitSettings, {"body_bytes_max": 0}),
        (LimitSettings, {"open_bytes_max": 0}),
        (LimitSettings, {"body_time_max_s": 0.0}),
        (LimitSettings, {"header_time_max_s": NAN}),
        (LimitSettings, {"answer_time_max_s": 0.0}),
        (LimitSettings, {"deadline_s": 0.0}),
        (BreakerSettings, {"failures_max": 0}),
        (BreakerSettings, {"cooldown_s": 0.0}),
        (BreakerSettings, {"probes_max": 0}),
        (AccessSettings, {"token": "short"}),
        pytest.param(AccessSettings, {"token": "0" * 1025}, id="a token that is too long"),
        (AccessSettings, {"token": "ä" * 20}),
        (AccessSettings, {"token": "0123456789 abcdef"}),
        (AccessSettings, {"token": "0123456789abcdef\n"}),
        (AccessSettings, {"token": "0123456789abcdef\x7f"}),
        (AccessSettings, {"metrics_too": True}),
        (RolloutSettings, {"artifacts": Path("a"), "canary_share": 1.01}),
        (RolloutSettings, {"artifacts": Path("a"), "poll_interval_s": 0.0}),
        (ListenSettings, {"port": 65_536}),
        (ListenSettings, {"drain_delay_s": -1.0}),
        (ListenSettings, {"drain_max_s": NAN}),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_not_born(settings, values):
    with pytest.raises(InputError):
        settings(**values)


def test_a_request_must_fit_into_a_batch():
    with pytest.raises(InputError, match="--rows-max 9 is more than a batch of --batch-size-max 8"):
        Settings(
            rollout=RolloutSettings(artifacts=Path("a")),
            batch=BatchSettings(size_max=8),
            limits=LimitSettings(rows_max=9),
        )


def test_as_a_rule_a_hang_is_seen_long_before_the_deadline():
    assert InferenceSettings().time_max_s <= LimitSettings().deadline_s / 2


def test_the_token_is_not_shown():
    assert "0123456789abcdef" not in repr(AccessSettings(token="0123456789abcdef"))


@pytest.fixture
def read(monkeypatch):
    """The settings that a command line gives, without a server."""
    import serve_api.running

    def run(*arguments, env=None):
        found = []
        monkeypatch.setattr(serve_api.running, "serve", found.append)
        result = CliRunner().invoke(app, ["--artifacts", "a", *arguments], env=env or {})
        return (found[0] if found else None), result

    return run


def test_durations_have_units_and_flags_are_read(read):
    settings, _ = read(
        "--batch-wait-max", "2ms", "--batch-size-max", "8", "--deadline", "1.5s", "--canary", "v1.1.0"
    )
    assert (settings.batch.wait_max_s, settings.batch.size_max) == (0.002, 8)
    assert settings.limits.deadline_s == 1.5
    assert settings.rollout.canary == "v1.1.0"


def test_every_flag_is_a_variable_too(read):
    settings, _ = read(
        env={"SERVE_BATCH_WAIT_MAX": "7ms", "SERVE_QUEUE_MAX": "9", "SERVE_TOKEN": "0123456789abcdef"}
    )
    assert (settings.batch.wait_max_s, settings.limits.queue_max) == (0.007, 9)
    assert settings.access.token == "0123456789abcdef"


def test_defaults_of_the_command_are_those_of_the_settings(read):
    settings, _ = read()
    assert settings == Settings(rollout=RolloutSettings(artifacts=Path("a")))


def test_a_folder_may_come_as_it_was_typed():
    """Older versions of Typer leave the parameters of a context as text."""
    assert read_artifacts("some/where") == Path("some/where")


def test_the_token_is_read_from_a_file(read, tmp_path):
    file = tmp_path / "token"
    file.write_text("fedcba9876543210\n")
    assert read("--token-file", str(file))[0].access.token == "fedcba9876543210"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_end_behind_the_token_is_none_of_it(read, end):
    settings, _ = read(env={"SERVE_TOKEN": "0123456789abcdef" + end})
    assert settings.access.token == "0123456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-wait-max", "5"], "error: --batch-wait-max '5' has no unit; write 5ms or 5s"),
        (["--threads", "0"], "error: --threads must be from 1 to 1024, got 0; 1 is right"),
        (["--token-file", "/nonexistent"], "error: cannot read nonexistent"),
    ],
)
def test_what_is_wrong_is_one_line(read, arguments, message):
    settings, result = read(*arguments)
    assert settings is None
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.startswith(message)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "error: the token must have 16 to 1024 characters, got 0; make one of 32 at random"),
        (" 0123456789abcdef", "error: the token must have no blanks, control characters or letters beyond ASCII, "
                              "but its character 1 of 17 is one; take it out of --token-file or SERVE_TOKEN"),
        ("0123456789abcdef\n\t\n", "error: the token must have no blanks, control characters or letters beyond "
                                   "ASCII, but its character 17 of 18 is one; "),
    ],
)  # fmt: skip
def test_a_token_that_nobody_could_send_is_refused_and_not_shown(read, token, message):
    settings, result = read(env={"SERVE_TOKEN": token})
    assert settings is None
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.startswith(message)
    assert "0123456789" not in result.output
