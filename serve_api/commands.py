"""Commands: `python -m serve_api` serves; `promote`, `rollback` and `publish` look after what is served."""

from pathlib import Path
from typing import Annotated, Any

import typer

from capacity.guarded import Guarded

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


ArtifactsOption = Annotated[Path | None, _option("--artifacts", "Folder of one model: artifacts/mlp.")]


@app.callback()
def serve(
    context: typer.Context,
    artifacts: ArtifactsOption = None,
    host: Annotated[str, _option("--host", "Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, _option("--port", "Port to listen on; 0 takes a free one.")] = 8000,
    batch_size_max: Annotated[int, _option("--batch-size-max", "Rows of a batch at most.")] = 32,
    batch_wait_max: Annotated[
        str, _option("--batch-wait-max", "Longest that a request waits for its batch to fill; 0s is greedy.")
    ] = "5ms",
    threads: Annotated[int, _option("--threads", "Threads of one batch.")] = 1,
    inference_nice: Annotated[
        int, _option("--inference-nice", "How far inference steps back behind the event loop, 0 to 19.")
    ] = 10,
    inference_time_max: Annotated[
        str, _option("--inference-time-max", "A batch that takes longer counts as hung.")
    ] = "2s",
    queue_max: Annotated[int, _option("--queue-max", "Requests that wait at most.")] = 1024,
    in_flight_max: Annotated[int, _option("--in-flight-max", "Requests that are open at most.")] = 2048,
    connections_max: Annotated[int, _option("--connections-max", "Connections at most.")] = 4096,
    rows_max: Annotated[
        int | None, _option("--rows-max", "Rows of one request at most; those of a batch if left out.")
    ] = None,
    body_bytes_max: Annotated[int, _option("--body-bytes-max", "Bytes of a body at most.")] = 262_144,
    open_bytes_max: Annotated[
        int, _option("--open-bytes-max", "Bytes of all bodies that come in parts together.")
    ] = 67_108_864,
    body_time_max: Annotated[str, _option("--body-time-max", "Longest that a body may take.")] = "10s",
    header_time_max: Annotated[str, _option("--header-time-max", "Longest that headers may take.")] = "10s",
    answer_time_max: Annotated[
        str, _option("--answer-time-max", "For which an answer may lie unread.")
    ] = "10s",
    deadline: Annotated[
        str, _option("--deadline", "A request that has waited longer is not computed.")
    ] = "10s",
    breaker_failures: Annotated[
        int, _option("--breaker-failures", "Batches that fail in a row until the circuit opens.")
    ] = 3,
    breaker_cooldown: Annotated[str, _option("--breaker-cooldown", "For which it stays open.")] = "5s",
    breaker_probes: Annotated[
        int, _option("--breaker-probes", "Requests let in at once while it is half-open.")
    ] = 1,
    token_file: Annotated[
        Path | None, _option("--token-file", "File with the bearer token; or SERVE_TOKEN holds it.")
    ] = None,
    token_metrics: Annotated[
        bool, typer.Option("--token-metrics", envvar="SERVE_TOKEN_METRICS", help="/metrics asks for it too.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None, _option("--cors-origin", "Origin that a browser may call from; may be repeated.")
    ] = None,
    canary: Annotated[str | None, _option("--canary", "Version that takes a share of the batches.")] = None,
    canary_share: Annotated[float, _option("--canary-share", "That share.")] = 0.05,
    poll_interval: Annotated[str, _option("--poll-interval", "How often `current` is looked at.")] = "1s",
    drain_delay: Annotated[
        str, _option("--drain-delay", "For which requests are still taken after SIGTERM.")
    ] = "0s",
    drain_max: Annotated[str, _option("--drain-max", "After which what is not answered is cut off.")] = "30s",
) -> None:
    """Serve one model; every option can be set by SERVE_... in the environment."""
    if context.invoked_subcommand is not None:
        return
    from serve_api.reading_settings import read_settings
    from serve_api.running import serve

    serve(read_settings(context.params))


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version to serve: v1.1.0.")],
    artifacts: ArtifactsOption = None,
) -> None:
    """Make a version the current one; servers swap to it within their poll interval."""
    from serve_api.reading_settings import read_artifacts
    from serve_api.store import ArtifactStore

    typer.echo(ArtifactStore(read_artifacts(artifacts)).set_current(version).version)


@app.command()
def rollback(artifacts: ArtifactsOption = None) -> None:
    """Make the version current that was so before; once more, the one before that."""
    from serve_api.reading_settings import read_artifacts
    from serve_api.store import ArtifactStore

    typer.echo(ArtifactStore(read_artifacts(artifacts)).rollback().version)


@app.command()
def publish(
    version: Annotated[str, typer.Argument(help="Version to copy: v1.1.0.")],
    source: Annotated[Path, typer.Option("--from", help="Store to copy it from.")],
    artifacts: ArtifactsOption = None,
) -> None:
    """Copy a version from another store, whole or not at all; the first of a store becomes current."""
    from serve_api.reading_settings import read_artifacts
    from serve_api.store import ArtifactStore

    store = ArtifactStore(read_artifacts(artifacts))
    taken = store.take(ArtifactStore(source).load(version))
    if store.current() is None:
        store.set_current(taken.version)
    typer.echo(taken.version)
