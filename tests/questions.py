"""Questions about either kind of server, from the fields of a question and of its space side by side."""

from dataclasses import fields, replace
from typing import Any

from capacity.question.question import Question
from capacity.server.batch.space import BatchQuestion, BatchSpace
from capacity.server.engine.space import EngineQuestion, EngineSpace


def batch_question(**given: Any) -> BatchQuestion:
    """A question about fleets that serve batches."""
    return _question(BatchSpace, given)


def engine_question(**given: Any) -> EngineQuestion:
    """A question about a language model."""
    return _question(EngineSpace, given)


def varied(question: Question[Any, Any, Any], **given: Any) -> Any:
    """The same question with other fields, of itself or of its space."""
    inner, outer = _split(type(question.space), given)
    return replace(question, **outer, space=replace(question.space, **inner))


def _question(kind: Any, given: dict[str, Any]) -> Any:
    inner, outer = _split(kind, given)
    return Question(**outer, space=kind(**inner))


def _split(kind: Any, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = {field.name for field in fields(kind)}
    inner = {name: value for name, value in given.items() if name in names}
    return inner, {name: value for name, value in given.items() if name not in names}
