"""`capacity schema`: a JSON Schema of its files, for editors and validators."""

import json
from typing import Annotated

import typer

from capacity.answer.schema import File
from capacity.commands.output import write_text


def schema(
    file: Annotated[
        File, typer.Argument(help="Kind of file: profile, llm-profile, plan or llm-plan.", metavar="KIND")
    ],
) -> None:
    """Print the JSON Schema of the profiles and saved plans that commands read.

    Examples:
      capacity schema profile
    """
    from capacity.answer.schema import schema as schema_of

    write_text(json.dumps(schema_of(file), indent=2) + "\n")
