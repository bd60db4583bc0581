"""JSON Schemas of the files that commands read, from the types that read them."""

from enum import StrEnum
from typing import Any

from capacity.errors import InputError, quoted


class File(StrEnum):
    """Kinds of JSON files that commands read."""

    PROFILE = "profile"
    LLM_PROFILE = "llm-profile"
    PLAN = "plan"
    LLM_PLAN = "llm-plan"


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of the profiles or saved plans that commands read, for editors and validators.

    The types that read such a file allow no other key, and also check what a schema cannot say.

    Args:
        kind: profile, llm-profile, plan or llm-plan.

    Raises:
        InputError: another kind.

    >>> schema("profile")["title"]
    'capacity profile'
    """
    if kind not in list(File):
        raise InputError(f"kind {quoted(kind)} is unknown; use one of {', '.join(File)}")
    file = File(kind)
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
