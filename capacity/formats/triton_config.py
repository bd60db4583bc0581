"""A model's `config.pbtxt` of NVIDIA's Triton Inference Server: how it batches today, and with how many instances.

It is in the text format of protocol buffers, whose grammar is read here, so that neither gRPC nor the server's schema
has to be installed, and fields of other versions are skipped.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.formats.document import Document, placed
from capacity.formats.running_plan import RunningPlan
from capacity.units import format_duration

NAME = "Triton's model configuration (config.pbtxt)"
_DEPTH_MAX = 50
_TOKENS_MAX = 1_000_000
_TOKEN = re.compile(
    r"""[\s,;]+|\#[^\n]*"""  # separators and comments
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<word>[-+]?[A-Za-z0-9_.][A-Za-z0-9_.+-]*)|(?P<sign>[\[\]{}<>:/])"""
)
_FIELD = re.compile(
    r"^\s*(?:max_batch_size\s*:\s*\d|dynamic_batching\s*:?\s*\{|instance_group\s*:?\s*[\[{]|platform\s*:\s*[\"']"
    r"|backend\s*:\s*[\"']|(?:input|output)\s*:?\s*\[)",
    re.MULTILINE,
)

Message = dict[str, list[Any]]  # values given to each field: texts, or messages


def recognises(document: Document) -> bool:
    """Whether its first part sets one of the fields that configurations of models have."""
    return not document.head.startswith(("{", "[", "<")) and bool(_FIELD.search(document.head))


def read_plan(document: Document) -> RunningPlan:
    """Largest batch, longest wait, instances and queue limit.

    Raises:
        InputError: not in the text format, or a value that its field cannot have.

    Source:
        Triton Inference Server, protobuf/model_config.proto (`ModelConfig`) and docs/user_guide/batcher.md.
    """
    config = _Fields(document.name, _message(document))
    return placed(document, document.name, partial(_plan, config))


def _plan(config: "_Fields") -> RunningPlan:
    size_max = config.whole("max_batch_size", 0)
    batching = config.last("dynamic_batching")
    sizes = batching.wholes("preferred_batch_size") if batching else ()
    queue = batching.last("default_queue_policy") if batching else None
    replicas, kind, notes = _instances(config)
    if batching is None and size_max > 1:
        notes.append(
            f"max_batch_size is {size_max}, but there is no dynamic_batching block, so the server forms no batches "
            "of single requests, unless it completed the configuration: GET v2/models/MODEL/config shows what runs"
        )
    return RunningPlan(
        name=config.text("name") or "model",
        batch_size_max=max(size_max, 1) if batching else 1,
        batch_wait_max_s=1e-6 * batching.whole("max_queue_delay_microseconds", 0) if batching else 0.0,
        replicas=replicas,
        queue_limit=(queue.whole("max_queue_size", 0) or None) if queue else None,
        preferred_batch_sizes=tuple(sorted(set(sizes))),
        device_kind=kind,
        notes=(*notes, *_batching_notes(config, sizes)),
    )


def _batching_notes(config: "_Fields", sizes: tuple[int, ...]) -> Iterator[str]:
    if sizes:
        yield (
            "a preferred batch size is sent off as soon as it is reached; other sizes wait the longest delay: "
            "--preferred-sizes evaluates that"
        )
    batching = config.last("dynamic_batching")
    if batching is not None:
        yield from _queue_notes(batching)
    if config.last("sequence_batching") is not None:
        yield "sequence_batching routes the requests of a sequence to one instance, which is not read here"
    if config.last("ensemble_scheduling") is not None:
        yield "this is an ensemble: its steps are models with configurations of their own"


def _queue_notes(batching: "_Fields") -> Iterator[str]:
    """Notes on what the queue does that `simulate` does not."""
    queue = batching.last("default_queue_policy")
    if queue is not None and queue.whole("max_queue_size", 0):
        yield "max_queue_size is of the model's one queue, as --queue-limit is with --routing shared-queue"
    if queue is not None and (timeout_us := queue.whole("default_timeout_microseconds", 0)):
        name = "DELAY" if queue.text("timeout_action") in ("DELAY", "1") else "REJECT"
        done = {"REJECT": "rejected", "DELAY": "served after all others"}[name]
        yield (
            f"a request that waits longer than {format_duration(1e-6 * timeout_us)} in the queue is {done} "
            f"(timeout_action {name}), which simulate does not do: see how many wait so long"
        )
    if batching.whole("priority_levels", 0) > 1:
        yield "priority_levels serves some requests before others; simulate serves them as they come"


def _instances(config: "_Fields") -> tuple[int, str | None, list[str]]:
    """Instances over all groups, the kind of device, and what was assumed.

    A group of kind GPU has `count` instances on each GPU it lists.
    """
    groups = [one for one in config.all("instance_group") if one.text("passive") != "true"]
    if not groups:
        return 1, None, ["no instance_group: one instance is assumed, as on a machine with one GPU or none"]
    kinds, replicas, notes = set(), 0, []
    for group in groups:
        kind, gpus = group.text("kind") or "KIND_AUTO", group.wholes("gpus")
        kinds.add({"KIND_GPU": "gpu", "KIND_CPU": "cpu"}.get(kind))
        replicas += max(group.whole("count", 1), 1) * max(len(gpus), 1)
        if kind in ("KIND_GPU", "KIND_AUTO") and not gpus:
            notes.append(f"a group of kind {kind} names no gpus; it is counted for one GPU")
    return replicas, kinds.pop() if len(kinds) == 1 else None, notes


class _Fields:
    """A message, whose fields are read by their type."""

    def __init__(self, where: str, message: Message) -> None:
        self._where, self._message = where, message

    def all(self, field: str) -> "list[_Fields]":
        """The messages in a field."""
        found = self._message.get(field, [])
        if not all(isinstance(one, dict) for one in found):
            raise InputError(f"{self._where}: {field} must be a block in braces")
        return [_Fields(f"{self._where}: {field}", one) for one in found]

    def last(self, field: str) -> "_Fields | None":
        """The message in a field; the last one if there are several, as in protocol buffers."""
        found = self.all(field)
        return found[-1] if found else None

    def text(self, field: str) -> str:
        """The text or name in a field; empty if it is absent."""
        return self._texts(field)[-1] if self._message.get(field) else ""

    def whole(self, field: str, default: int) -> int:
        """The whole number in a field."""
        return self.wholes(field)[-1] if self._message.get(field) else default

    def wholes(self, field: str) -> tuple[int, ...]:
        """The whole numbers in a field, decimal, hexadecimal or octal."""
        return tuple(self._whole(field, text) for text in self._texts(field))

    def _whole(self, field: str, text: str) -> int:
        if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,20}|[1-9][0-9]{0,18}", text):
            raise InputError(f"{self._where}: {field} must be a whole number from 0, got {quoted(text)}")
        if text[:2].lower() == "0x":
            return int(text, 16)
        return int(text, 8 if text[0] == "0" else 10)

    def _texts(self, field: str) -> list[str]:
        found = self._message.get(field, [])
        if not all(isinstance(one, str) for one in found):
            raise InputError(f"{self._where}: {field} must be a value, not a block")
        return found


# ---- The text format of protocol buffers ------------------------------------------------------


class _Tokens:
    """The words of a text, with the line of each."""

    def __init__(self, document: Document) -> None:
        self.name, self._text, self._at = document.name, document.text, 0
        self._left = _TOKENS_MAX
        self.next = self._read()

    def take(self) -> str:
        """The next word, which is consumed; empty at the end."""
        found, self.next = self.next, self._read()
        return found

    def _read(self) -> str:
        while self._at < len(self._text):
            match = _TOKEN.match(self._text, self._at)
            if match is None:
                raise self.refusal(f"{printable(self._text[self._at])!r} is not expected")
            self._at, self._left = match.end(), self._left - 1
            if self._left < 0:
                raise InputError(f"{self.name} has more than {_TOKENS_MAX} words; is it a configuration?")
            if match.lastgroup:
                return match[0]
        return ""

    def refusal(self, what: str) -> InputError:
        """An error that names the place."""
        line = self._text.count("\n", 0, self._at) + 1
        return InputError(
            f"{self.name} line {line}: not the text format of protocol buffers ({what}); check the file"
        )


_CLOSING = {"{": "}", "<": ">"}


def _message(document: Document) -> Message:
    """All fields of a text."""
    return _fields(_Tokens(document), "", 0)


def _fields(tokens: _Tokens, end: str, depth: int) -> Message:
    """Fields up to a closing brace, or the end of the text."""
    if depth > _DEPTH_MAX:
        raise tokens.refusal(f"blocks are nested more than {_DEPTH_MAX} deep")
    found: Message = {}
    while tokens.next != end:
        name = tokens.take()
        if name == "[":  # an extension, or the type of a packed message
            name = _extension(tokens)
        elif not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise tokens.refusal(f"a name of a field was expected, got {quoted(name)}")
        found.setdefault(name, []).extend(_values(tokens, depth))
    tokens.take()
    return found


def _extension(tokens: _Tokens) -> str:
    name = ""
    while (word := tokens.take()) != "]":
        if not word:
            raise tokens.refusal("a bracket is not closed")
        name += word
    return f"[{name}]"


def _values(tokens: _Tokens, depth: int) -> list[Any]:
    """Values of a field: one value, or those in a list."""
    has_colon = tokens.next == ":"
    if has_colon:
        tokens.take()
    if tokens.next != "[":
        return [_value(tokens, depth, has_colon)]
    tokens.take()
    found: list[Any] = []
    while tokens.next != "]":
        found.append(_value(tokens, depth, has_colon))
    tokens.take()
    return found


def _value(tokens: _Tokens, depth: int, has_colon: bool) -> Any:  # noqa: FBT001
    word = tokens.take()
    if word in _CLOSING:
        return _fields(tokens, _CLOSING[word], depth + 1)
    if not has_colon or not word or word in "]}>:/":
        raise tokens.refusal(f"a value was expected, got {quoted(word)}")
    if word[0] not in "\"'":
        return word
    text = word[1:-1]
    while tokens.next[:1] in ("'", '"'):  # texts that follow each other are one
        text += tokens.take()[1:-1]
    return text


READERS = {"plan": read_plan}
