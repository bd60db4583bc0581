"""`capacity schema`: a JSON Schema of its files, for editors and validators."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from capacity.commands.output import write_text


class File(StrEnum):
    """Kinds of JSON files that commands read."""

    PROFILE = "profile"
    LLM_PROFILE = "llm-profile"
    PLAN = "plan"
    LLM_PLAN = "llm-plan"


def schema(
    file: Annotated[
        File, typer.Argument(help="Kind of file: profile, llm-profile, plan or llm-plan.", metavar="KIND")
    ],
) -> None:
    """Print the JSON Schema of the profiles and saved plans that commands read.

    Examples:
      capacity schema profile
    """
    write_text(json.dumps(file_schema(file), indent=2) + "\n")


def file_schema(file: File) -> dict[str, Any]:
    """Schema from the types that read such a file and allow no other key, and also check what it cannot say."""
    found = _schema_of(_types()[file])
    if file is File.PROFILE:  # a timing is read by itself, so that an error names its place
        from capacity.profile.formats import _TimingDocument

        found["properties"]["timings"]["items"] = _schema_of(_TimingDocument)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"capacity {file.value}"}
    return head | {key: value for key, value in found.items() if key != "title"}


def _types() -> dict[File, Any]:
    """The type that reads each kind of file."""
    from capacity.answer.saved_batches import BatchFile
    from capacity.answer.saved_engines import EngineFile
    from capacity.profile import formats, llm_formats

    return {
        File.PROFILE: formats._ProfileDocument,
        File.LLM_PROFILE: llm_formats._LlmDocument,
        File.PLAN: BatchFile,
        File.LLM_PLAN: EngineFile,
    }


def _schema_of(kind: Any) -> dict[str, Any]:
    """Schema of a type; its objects are closed, as its reader requires, unless any key is allowed."""
    from pydantic import TypeAdapter

    found = TypeAdapter(kind).json_schema()
    for part in (found, *found.get("$defs", {}).values()):
        if "properties" in part:
            part["additionalProperties"] = False
    return found
