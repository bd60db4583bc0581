"""Answer: what every verb returns, to be read as attributes, a dict, a DataFrame, a figure or text."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from capacity.answer.documents import (
    Document,
    dumps,
    plain,
    versioned,
)
from capacity.answer.plan_like import as_path
from capacity.answer.sentences import format_found
from capacity.answer.sweep import (
    write_rows,
)
from capacity.doors import in_keywords
from capacity.errors import DependencyError
from capacity.files import check_target, format_suffix, write_whole
from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate
from capacity.question.objective import Limit, Measure
from capacity.render.console import as_text
from capacity.traffic.scale import Scale

if TYPE_CHECKING:
    import pandas as pd

    from capacity.render.figures import ObjectiveCurve
    from capacity.render.plot import Panels, Plot


WIDTH = 100  # columns of a page in a notebook
_ONE_LINE = 10_000  # columns in which no sentence is broken

# Forms in which an answer is written.
ENDINGS = (".json", ".csv", ".parquet", ".svg", ".png")


class Answer(ABC):
    """An answer of any verb."""

    @abstractmethod
    def document(self) -> Document:
        """The answer as JSON, without its schema version."""

    @abstractmethod
    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables that the command prints on a terminal of that width; `verbose` adds details."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """The rows of `to_frame`; SI, with the unit in the name."""

    @abstractmethod
    def plot(self) -> "Plot | Panels":
        """A figure; `save` writes it as .png or .svg."""

    def to_dict(self) -> dict[str, Any]:
        """What the command prints with --json."""
        return versioned(self.document())

    def save(self, path: str | Path) -> None:
        """Write the answer to a file by its ending: .json, its rows as .csv or .parquet, or its picture.

        A stream such as /dev/stdout, which has no ending, gets JSON.

        Raises:
            InputError: another ending, a path that cannot be written, or nothing to draw.
            DependencyError: a full disk, or .parquet without pyarrow.
        """
        target = as_path(path)
        check_target(target, "an answer", ENDINGS)
        match format_suffix(target, ENDINGS):
            case ".json":
                self._write(target)
            case ".csv" | ".parquet":
                write_rows(target, self.rows())
            case _:
                self.plot().save(target)

    def _write(self, target: Path) -> None:
        """Write the answer as JSON, by default the command's own."""
        write_whole(target, (dumps(self.document()) + "\n").encode())

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas DataFrame.

        Raises:
            DependencyError: pandas is not installed.
        """
        return frame_of(self.rows())

    def explain(self) -> str:
        """The answer in words, as the command prints it."""
        return as_text(self.tables(WIDTH), WIDTH)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return 0

    @property
    def summary(self) -> str:
        """The answer on one line, which its `repr` shows: the first sentence that the command prints."""
        lines = (line for one in self.tables(WIDTH) for line in as_text([one], _ONE_LINE).splitlines())
        return next(filter(str.strip, lines)).strip().removesuffix(".")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {in_keywords(self.summary)}>"

    def __str__(self) -> str:
        return self.explain()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        # What IPython shows.
        return {"text/plain": self.explain(), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        from capacity.render.html import as_html

        return as_html(self.tables(WIDTH), WIDTH)


class OfOneFleet(Answer):
    """An answer about one fleet: its plan, how it performs, and the two figures that are asked for most."""

    __slots__ = ()

    @property
    @abstractmethod
    def plan(self) -> Any:
        """The plan of the fleet; None if there is none."""

    @property
    @abstractmethod
    def performance(self) -> Performance | None:
        """Performance of the fleet; None if it has none, or was not simulated."""

    @property
    def replicas(self) -> int | None:
        """Number of replicas; None without a plan."""
        return None if self.plan is None else int(self.plan.replicas)

    @property
    def p99(self) -> Interval | None:
        """P99 of the response with its interval, a lost request being infinitely late; None if it is not known. [s]"""
        return None if self.performance is None else _P99.found(self.performance)


_P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=math.inf)


def response_in_words(performance: Performance) -> str:
    """P99 of the response, or the highest quantile that was asked for; else its mean."""
    known = tuple(performance.response_quantiles_s)
    quantile = 0.99 if 0.99 in known or not known else max(known)
    found = replace(_P99, quantile=quantile)
    mean = Limit(measure=Measure.RESPONSE_MEAN, allowed=math.inf)
    return format_found(found, performance) or format_found(mean, performance)


def frame_of(data: "Sequence[Mapping[str, Any]] | Mapping[str, Any]") -> "pd.DataFrame":
    """Rows, or columns by name, as a pandas DataFrame.

    Raises:
        DependencyError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise DependencyError(
            "a DataFrame needs pandas, which is not installed; pip install 'capacity-planner[frames]', "
            "or use rows()"
        ) from None
    return pd.DataFrame(data)


def size_row(scale: Scale, size: float) -> dict[str, Any]:
    """The first columns of a row: a rate or users, and the multiple of a trace or a day."""
    multiple = {} if scale.multiple is None else {scale.multiple.key: scale.times(size)}
    return {scale.key: size if scale.step == 0.0 else round(size)} | multiple


def quantile_points(
    rows: Iterable[Mapping[str, Any]], name: str, scale: Scale
) -> list[tuple[float | None, float, Interval]]:
    """Load, size and a quantile with its interval [s], from the rows that have it; lost requests are late."""

    def found(row: Mapping[str, Any]) -> Interval:
        named = f"{name}_with_losses" if row.get("loss_probability") else name
        ends = (row[f"{named}{end}_s"] for end in ("", "_low", "_high"))
        value, low, high = (math.inf if end is None else end for end in ends)
        return Interval(value=value, low=low, high=high)

    return [(row["load"], row[scale.key], found(row)) for row in rows if row[f"{name}_s"] is not None]


def drawn(curve: "ObjectiveCurve | None") -> "Plot":
    """The figure of a limit.

    Raises:
        InputError: there is none.
    """
    from capacity.errors import InputError
    from capacity.render.figures import draw_objective

    if curve is None:
        raise InputError("no plan meets the objective: there is nothing to draw")
    return draw_objective(curve)


def quantile_bars(performances: Sequence[Performance], names: Sequence[str]) -> "Plot | Panels":
    """A figure of the quantiles of some performances, by name."""
    from capacity.render.figures import draw_quantiles

    return draw_quantiles(performances, names)


def plan_row(plan: Any) -> dict[str, Any]:
    """A plan by field, as a row has it."""
    return dict(plain(plan))


def performance_row(performance: Performance | None) -> dict[str, Any]:
    """Numbers by field; a quantile as `response_p99_s` with `response_p99_low_s` and `_high_s`."""
    from capacity.answer.sweep import performance_columns

    return {} if performance is None else performance_columns(performance)


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    """A candidate by field: its plan, its verdict, the numbers of its refusal, and its performance."""
    rejection = candidate.rejection
    refused: Mapping[str, Any] = (
        {}
        if rejection is None
        else {
            "rejection": rejection.reason.value,
            "allowed": rejection.allowed,
            "needed": rejection.needed,
        }
    )
    return {
        **plan_row(candidate.plan),
        "verdict": candidate.verdict.value,
        **refused,
        **performance_row(candidate.performance),
    }
