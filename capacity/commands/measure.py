"""`capacity profile`: measures service time by batch size, and writes the profile that a plan takes."""

from pathlib import Path

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, ask_aloud, emit


@verb("profile")
def profile(context: typer.Context, file: str | None, output: Format, *, as_json: bool) -> None:
    """Measure service time by batch size, and write the profile that plan --profile takes.

    Times a Python function (--callable) or an endpoint that is sent batches (--url), or reads the histograms
    of a server under traffic (--metrics). An interrupt or a failure keeps what was measured before it.

    For a language model's server (--llm) it measures the steps of the engine by three sweeps, and checks them by a
    run with requests always waiting. This needs all of its runs.

    Examples:
      capacity profile --callable bench:predict -o mine.json
      capacity profile --url http://127.0.0.1:8000/predict --body row.json -o mine.json
      capacity profile --metrics http://127.0.0.1:8000/metrics --duration 60s -o mine.json
      capacity profile --llm http://127.0.0.1:8000 --model llama --kv-tokens 535040 --sequences-max 64 \
          --batched-tokens-max 2048 --context-tokens-max 8192 -o mine.json
    """
    import capacity
    from capacity.files import check_target
    from capacity.profile.load import profile_name

    path = None if file is None else Path(file)
    if path is not None:  # refused before hours of work if it could not be written
        check_target(path, "a profile", (".json",))
        if context.params["name"] is None:
            context.params["name"] = profile_name(path, "measured")
    found = ask_aloud(capacity.measure_profile, context)
    try:
        if path is not None:
            found.write_profile(path)
    finally:  # a full disk does not cost what was measured
        emit(found, output, as_json=as_json)
    if found.stop is not None:  # all is saved now; the exit code says that it was cut short
        raise found.stop
