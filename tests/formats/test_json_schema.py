"""JSON Schemas of tools' output, which hold no measurement."""

import pytest
from reading import refusal

from capacity.formats import json_schema
from capacity.formats.document import Document
from capacity.formats.registry import Kind

DRAFTS = ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema"]
SCHEMA = {"type": "object", "properties": {"summary": {"type": "object"}, "latencyPercentiles": {}}}
EXAMPLES = {f"draft_{at}": {"$schema": draft} | SCHEMA for at, draft in enumerate(DRAFTS)}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_schema_is_refused_for_every_purpose(name: str, kind: Kind) -> None:
    assert "is a JSON Schema, which describes a tool's output" in refusal(EXAMPLES[name], kind)


def test_what_follows_a_schema_is_none() -> None:
    """As the results of Hyperfoil, which name theirs."""
    assert not json_schema.recognises(Document("a file", '{"$schema": "http://hyperfoil.io/run-schema/0.6"}'))
