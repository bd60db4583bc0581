"""A JSON Schema, such as oha and Hyperfoil publish for their output: it describes measurements and holds none."""

from typing import NoReturn

from capacity.errors import InputError
from capacity.formats.document import Document

NAME = "JSON Schema, which holds no measurement"


def recognises(document: Document) -> bool:
    """Whether it names a draft of JSON Schema as its own schema."""
    return "$schema" in document.keys and "json-schema.org" in str(document.object["$schema"])


def refuse(document: Document) -> NoReturn:
    """Raises InputError: always, with what to give instead."""
    raise InputError(
        f"{document.name} is a JSON Schema, which describes a tool's output and holds no measurement; give the output "
        "itself"
    )


READERS = dict.fromkeys(
    ("profile", "workload", "load-test", "plan", "runs", "steps", "loads", "drafts"), refuse
)
