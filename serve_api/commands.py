"""Commands: `python -m serve_api` and what goes with it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from capacity.guarded import Guarded
from capacity.units import parse_duration_s

app = typer.Typer(
    cls=Guarded,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _option(flag: str, text: str) -> Any:
    """An option that `SERVE_...` in the environment sets too."""
    return typer.Option(flag, envvar="SERVE_" + flag.strip("-").replace("-", "_").upper(), help=text)


@app.callback()
def serve(
    context: typer.Context,
    artifacts: Annotated[Path | None, _option("--artifacts", "Folder of one model: artifacts/mlp.")] = None,
    host: Annotated[str, _option("--host", "Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, _option("--port", "Port to listen on; 0 takes a free one.")] = 8000,
    batch_size_max: Annotated[int, _option("--batch-size-max", "Rows of a batch at most.")] = 32,
    batch_wait_max: Annotated[str, _option("--batch-wait-max", "Longest wait of a batch to fill.")] = "5ms",
    threads: Annotated[int, _option("--threads", "Threads of one batch.")] = 1,
    inference_nice: Annotated[int, _option("--inference-nice", "How far inference steps back.")] = 0,
    inference_time_max: Annotated[
        str, _option("--inference-time-max", "A batch that takes longer counts as hung.")
    ] = "10s",
) -> None:
    """Serve one model."""
    if context.invoked_subcommand is not None:
        return
    from serve_api.settings import (
        BatchSettings,
        InferenceSettings,
        ListenSettings,
        RolloutSettings,
        Settings,
    )

    settings = Settings(
        rollout=RolloutSettings(artifacts=artifacts or Path()),
        batch=BatchSettings(
            size_max=batch_size_max, wait_max_s=parse_duration_s(batch_wait_max, "--batch-wait-max")
        ),
        inference=InferenceSettings(
            threads=threads,
            nice=inference_nice,
            time_max_s=parse_duration_s(inference_time_max, "--inference-time-max"),
        ),
        listen=ListenSettings(host=host, port=port),
    )
    from serve_api.running import serve as run

    run(settings, _FolderStore(settings.rollout.artifacts))


class _Folder:
    def __init__(self, version: str, model: bytes) -> None:
        self.version, self.model = version, model


class _FolderStore:
    """Until the store proper is there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def current(self) -> str | None:
        return str((self._root / "current").readlink())

    def load(self, version: str | None = None) -> _Folder:
        name = version or self.current() or ""
        return _Folder(name, (self._root / name / "model.onnx").read_bytes())
