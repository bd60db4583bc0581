"""Log: what an emulated engine did, one line of JSON for each step and for each answered request."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, TextIO

from capacity.errors import InputError
from simulations.reference.request import Request
from simulations.reference.scheduler import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step, by the schedule; instants count from the start of the engine.

    Attributes:
        prefill_requests, prefill_tokens, prefill_kv_tokens, decode_requests, decode_kv_tokens: as in
            `capacity.profile.steps.StepTiming`.
        blocks_used: blocks of the cache in use at its end.
        late_s: how late its tokens were handed out. [s]
    """

    start_s: float
    end_s: float
    prefill_requests: int
    prefill_tokens: int
    prefill_kv_tokens: int
    decode_requests: int
    decode_kv_tokens: int
    blocks_used: int
    late_s: float

    @classmethod
    def of(cls, parts: Sequence[Part], start_s: float, end_s: float, used: int, late_s: float) -> Self:
        """The step that computed these parts."""
        prefill = [part for part in parts if not part.is_decode]
        decode = [part for part in parts if part.is_decode]
        return cls(
            start_s=start_s,
            end_s=end_s,
            prefill_requests=len(prefill),
            prefill_tokens=sum(part.tokens for part in prefill),
            prefill_kv_tokens=sum(part.before for part in prefill),
            decode_requests=len(decode),
            decode_kv_tokens=sum(part.before + 1 for part in decode),
            blocks_used=used,
            late_s=late_s,
        )


class StepLog:
    """Writes steps and requests to a file, each at once; without a file it writes nothing.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file: TextIO | None = None
        if path is None:
            return
        try:
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise InputError(f"--step-log {path.name}: {error.strerror}; name another file") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def step(self, step: Step) -> None:
        """A step has ended."""
        self._write({"kind": "step", **asdict(step)})

    def request(self, request: Request, arrived_s: float, finished_s: float) -> None:
        """A request has all its tokens."""
        self._write(
            {
                "kind": "request",
                "number": request.number,
                "arrived_s": arrived_s,
                "first_s": request.first_s,
                "finished_s": finished_s,
                "input_tokens": request.input,
                "output_tokens": request.output,
                "cached_tokens": max(0, request.hits),
                "preemptions": request.preemptions,
            }
        )

    def _write(self, row: dict[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
