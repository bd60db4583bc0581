"""Commands: `python -m serve_api` serves; `promote`, `rollback` and `publish` manage the served versions."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from capacity.commands.guard import Guarded
from capacity.errors import InputError
from capacity.units import format_duration
from serve_api.models.store import ArtifactStore
from serve_api.server.settings import Settings, flag_of, read_settings

app = typer.Typer(
    cls=Guarded,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _option(name: str, text: str | None) -> Any:
    """An option that `SERVE_...` in the environment can set too."""
    flag = flag_of(name)
    return typer.Option(flag, envvar="SERVE_" + flag.strip("-").replace("-", "_").upper(), help=text)


def _parameters() -> Iterator[inspect.Parameter]:
    """An option for each field of the settings, with its default and description."""
    kinds: dict[str, Any] = {
        "artifacts": Path | None,
        "step_log": Path | None,
        "cors_origin": list[str] | None,
    }
    kinds |= dict.fromkeys(("rows_max", "sequences_max", "batched_tokens_max", "kv_tokens"), int | None)
    for name, field in Settings.model_fields.items():
        kind, default = kinds.get(name, field.annotation), None if name in kinds else field.default
        if name.endswith("_s"):
            kind, default = str, format_duration(field.default).replace(" ", "")
        wanted: Any = Annotated[kind, _option(name, field.description)]
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=wanted)


def serve(context: typer.Context, **given: Any) -> None:
    """Serve one model; every option can be set by SERVE_... in the environment."""
    if context.invoked_subcommand is not None:
        return
    from serve_api.server.process import serve as serve_until_told

    if given["emulate"] is None:
        _store(given["artifacts"])
    serve_until_told(read_settings(given))


_context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
_options = list(_parameters())
# Typer reads options from a signature; this one comes from the settings, so that each option is defined once.
serve.__signature__ = inspect.Signature([_context, *_options])  # type: ignore[attr-defined]
serve.__annotations__ = {one.name: one.annotation for one in (_context, *_options)}
app.callback()(serve)

ArtifactsOption = Annotated[Path | None, _option("artifacts", "Folder of one model: artifacts/mlp.")]


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version to make current: v1.1.0.")],
    artifacts: ArtifactsOption = None,
) -> None:
    """Make a version the current one; servers swap to it within their poll interval."""
    typer.echo(_store(artifacts).set_current(version).version)


@app.command()
def rollback(artifacts: ArtifactsOption = None) -> None:
    """Make the previously current version current again; once more, the one before that."""
    typer.echo(_store(artifacts).rollback().version)


@app.command()
def publish(
    version: Annotated[str, typer.Argument(help="Version to copy: v1.1.0.")],
    source: Annotated[Path, typer.Option("--from", help="Store to copy it from.")],
    artifacts: ArtifactsOption = None,
) -> None:
    """Copy a version from another store, whole or not at all; the first of a store becomes current."""
    store = _store(artifacts)
    taken = store.take(ArtifactStore(source).load(version))
    if store.current() is None:
        store.set_current(taken.version)
    typer.echo(taken.version)


def _store(artifacts: Path | str | None) -> ArtifactStore:
    if artifacts is None:
        raise InputError("--artifacts is missing; name the folder of one model, such as artifacts/mlp")
    return ArtifactStore(Path(artifacts))
