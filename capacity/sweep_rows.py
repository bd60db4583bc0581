"""Sweep rows: the rows of a running sweep, kept in a journal until the file is whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capacity.reading import printable
from capacity.sweep_file import write_file
from capacity.sweep_journal import Journal, open_journal
from capacity.sweep_table import Column, Row
from capacity.writing import JOURNAL_SUFFIX, is_stream


class Rows(list[Row]):
    """Rows in the order of the cells; what is appended is kept in the journal, if there is one."""

    def __init__(self, journal: Journal | None = None) -> None:
        super().__init__(journal.rows if journal else ())
        self._journal = journal

    def append(self, row: Row) -> None:
        """One more."""
        if self._journal is not None:
            self._journal.append(row)
        super().append(row)


@contextmanager
def kept_rows(
    path: Path | None, settings: Mapping[str, Any], columns: Sequence[Column], cells: int, *, fresh: bool
) -> Iterator[Rows]:
    """The rows so far, to be appended to; written to their file when all is well, else kept beside it.

    Beside a stream, such as `/dev/stdout`, nothing is kept.

    Raises:
        InputError: what is kept there is of another sweep, or the path cannot be written.
        DependencyError: the disk failed.
    """
    if path is None or is_stream(path):
        rows = Rows()
        yield rows
        if path is not None:
            write_file(path, columns, rows)
        return
    kept = path.with_name(path.name + JOURNAL_SUFFIX)
    with open_journal(kept, settings, columns, cells, fresh=fresh) as journal:
        rows = Rows(journal)
        try:
            yield rows
            write_file(path, columns, rows)
        except BaseException as error:
            if rows:
                error.add_note(
                    f"{len(rows)} of {cells} rows are kept in {printable(kept.name)}; the same command goes "
                    "on from there"
                )
            else:
                journal.remove()
            raise
        journal.remove()
