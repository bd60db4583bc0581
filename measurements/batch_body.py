"""BatchBody: the JSON of a request for so many rows, made of one row repeated."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capacity.errors import InputError
from capacity.json_reading import parse_object
from capacity.reading import printable, read_text

BODY_BYTES_MAX = 64 * 2**20
BODIES_BYTES_MAX = 256 * 2**20  # of all batch sizes, which are held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBody:
    """A request's JSON, whose list of rows gets as long as the batch.

    Attributes:
        document: the rest of it, kept as it is.
        rows_key: where the rows are.
        row: the one that is repeated.
    """

    document: dict[str, Any]
    rows_key: str
    row: Any

    def of(self, batch_size: int) -> bytes:
        """The body of a request for a batch of this size.

        Raises:
            InputError: it would be too large.
        """
        return self.of_each((batch_size,))[batch_size]

    def of_each(self, batch_sizes: Sequence[int]) -> dict[int, bytes]:
        """Bodies by batch size.

        Raises:
            InputError: one would be too large, or all together.
        """
        row_bytes = len(json.dumps(self.row)) + len(", ")
        rest_bytes = len(json.dumps(self.document | {self.rows_key: []}))
        lengths = {size: rest_bytes + row_bytes * size for size in batch_sizes}
        for size, length in lengths.items():
            if length > BODY_BYTES_MAX:
                raise InputError(
                    f"a request for a batch of {size} would have {length} bytes, more than {BODY_BYTES_MAX}; "
                    "leave out that size"
                )
        if sum(lengths.values()) > BODIES_BYTES_MAX:
            raise InputError(
                f"requests for {len(lengths)} batch sizes would have {sum(lengths.values())} bytes together, "
                f"more than {BODIES_BYTES_MAX}; measure fewer --batch-sizes"
            )
        return {size: self._of(size) for size in batch_sizes}

    def _of(self, batch_size: int) -> bytes:
        return json.dumps(self.document | {self.rows_key: [self.row] * batch_size}).encode()


def read_body(path: Path, rows_key: str) -> BatchBody:
    """The request in a JSON file: an object with a list of rows, of which the first is taken.

    Raises:
        InputError: the file cannot be read, or has no such list.
    """
    shown = printable(path.name)
    document = parse_object(
        read_text(path, BODY_BYTES_MAX), shown, "a request is a JSON object with its rows"
    )
    rows = document.get(rows_key)
    if not isinstance(rows, list) or not rows:
        known = ", ".join(printable(key)[:40] for key, value in document.items() if isinstance(value, list))
        raise InputError(
            f"{shown}: {printable(rows_key)[:40]!r} must be a list with a row at least; "
            f"set --rows-key{f' to one of {known[:200]}' if known else ''}"
        )
    return BatchBody(document=document, rows_key=rows_key, row=rows[0])
