"""`capacity profiles`: the bundled profiles."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from capacity.commands.guard import StrictTyper
from capacity.commands.options import flags
from capacity.commands.output import Format, emit_pieces, width
from capacity.question.flag import PROFILE, REQUIRED, argument

if TYPE_CHECKING:
    from rich.console import RenderableType

profiles_app = StrictTyper(
    invoke_without_command=True, help="Bundled profiles: published measurements, ready to plan with."
)


@profiles_app.callback()
@flags("")
def profiles(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """List the bundled profiles, with throughput by batch size and its knee."""
    if context.invoked_subcommand is not None:
        return
    from capacity.profile.load import bundled_llm_names, bundled_names, load_llm, load_profile
    from capacity.render.profiles import llm_profile_document, profile_document

    bundled = [load_profile(name) for name in bundled_names()]
    engines = [load_llm(name) for name in bundled_llm_names()]

    def tables() -> Iterator["RenderableType"]:
        from capacity.render.profiles import llm_profiles_table
        from capacity.render.tables import profiles_table

        yield profiles_table(bundled)
        yield llm_profiles_table(engines)

    emit_pieces(
        output,
        as_json=as_json,
        document=lambda: {
            "profiles": [profile_document(profile) for profile in bundled],
            "language_models": [llm_profile_document(engine) for engine in engines],
        },
        tables=tables,
    )


@profiles_app.command("show")
@flags(name=argument(PROFILE, REQUIRED, "The name of a bundled profile, or a .json or .csv file.", "PROFILE"))
def show_profile(name: str, output: Format, *, as_json: bool) -> None:
    """Show one profile, batch size by batch size, with a chart.

    Examples:
      capacity profiles show resnet50-t4-fp16
    """
    from capacity.profile.load import load_any
    from capacity.render.profiles import shown

    profile = load_any(name)
    document, tables = shown(profile)
    emit_pieces(
        output,
        as_json=as_json,
        document=lambda: document(profile),
        tables=lambda: tables(profile, width()),
    )
