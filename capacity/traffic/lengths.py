"""Lengths: tokens in and out of requests, drawn together so that their correlation is kept."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError, quoted
from capacity.files import csv_rows, is_read_once, printable, read_parts, read_text, repeatable
from capacity.traffic.trace import Stamp, parse_stamp, unit_and_instants, unused_columns
from capacity.traffic.workload import TraceArrivals
from capacity.units import is_number, parse_duration_s, typed_duration

Integers = npt.NDArray[np.int64]
Pairs = tuple[Integers, Integers]

TOKENS_MAX = 10_000_000
LEVELS = (np.arange(20_001) + 0.5) / 20_001  # quantiles of a named law that its moments are summed over
# Names of the two columns, ours and those of traces and tools.
INPUT_NAMES = ("input_tokens", "contexttokens", "prompt_tokens", "num_prefill_tokens")
OUTPUT_NAMES = ("output_tokens", "generatedtokens", "completion_tokens", "num_decode_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments that the stability of an engine depends on.

    Attributes:
        product: mean of input times output.
        square: mean of the output's square.
    """

    input: float
    output: float
    product: float
    square: float

    def shifted(self, cut: "Moments", uncut: "Moments") -> "Moments":
        """These moments, plus the difference between two others: a control variate."""
        names = (one.name for one in fields(self))
        return Moments(
            **{name: getattr(self, name) + getattr(cut, name) - getattr(uncut, name) for name in names}
        )

    @property
    def output_scv(self) -> float:
        """Squared coefficient of variation of the output."""
        return max(0.0, self.square / self.output**2 - 1.0)

    @property
    def context(self) -> float:
        """Tokens that a decoding request reads, averaged over its output tokens."""
        return self.product / self.output + self.square / (2.0 * self.output)


class Lengths(Protocol):
    """Input and output tokens of requests."""

    def draw(self, uniforms: npt.NDArray[np.float64]) -> Pairs:
        """Lengths, one request for each row of two uniform numbers, shape `(requests, 2)`."""

    @property
    def moments(self) -> Moments:
        """Moments of the drawn lengths."""

    @property
    def context_max(self) -> int:
        """Largest number of tokens of a request, input and output together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Distribution of the lengths of some prompts, or of some answers. [tokens]"""

    mean: float
    cv: float
    p50: int
    p90: int
    p99: int
    largest: int

    @classmethod
    def of(cls, counts: Integers) -> "TokenCounts":
        """Distribution of these counts; a quantile is the smallest count that this share does not exceed."""
        ordered = np.sort(counts)
        p50, p90, p99 = (int(ordered[max(0, math.ceil(q * len(ordered)) - 1)]) for q in (0.5, 0.9, 0.99))
        mean = float(ordered.mean())
        return cls(
            mean=mean, cv=float(ordered.std()) / mean, p50=p50, p90=p90, p99=p99, largest=int(ordered[-1])
        )


@dataclass(frozen=True)
class LengthRows:
    """Recorded lengths, one pair for each request; drawn with replacement.

    Attributes:
        input_tokens, output_tokens: shape `(requests,)` each.
        name: name of the file.
        dropped: number of requests left out because they were too long.
        remarks: what its reader left out, a sentence each.
    """

    input_tokens: tuple[int, ...] = field(repr=False)
    output_tokens: tuple[int, ...] = field(repr=False)
    name: str = "lengths"
    dropped: int = 0
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def typed(self) -> str:
        """The name of the file."""
        return self.name

    def __post_init__(self) -> None:
        if not self.input_tokens or len(self.input_tokens) != len(self.output_tokens):
            raise InputError(
                f"{self.name} has no lengths; give input_tokens and output_tokens for each request"
            )
        for what, column in (("input", self.input_tokens), ("output", self.output_tokens)):
            if min(column) < 1:
                raise InputError(
                    f"{self.name} has a request of {min(column)} {what} tokens; each has at least one"
                )

    def __hash__(self) -> int:
        # Scenarios are keys of caches, and each lookup would hash every row.
        return hash((self.name, self.dropped, len(self.input_tokens)))

    @cached_property
    def _columns(self) -> Pairs:
        return np.array(self.input_tokens, dtype=np.int64), np.array(self.output_tokens, dtype=np.int64)

    def draw(self, uniforms: npt.NDArray[np.float64]) -> Pairs:
        """Rows, each equally likely."""
        rows = (uniforms[:, 0] * len(self.input_tokens)).astype(np.int64)
        given, got = self._columns
        return given[rows], got[rows]

    @cached_property
    def moments(self) -> Moments:
        """Moments of the rows."""
        return moments_of(*self._columns)

    @cached_property
    def counts(self) -> tuple[TokenCounts, TokenCounts]:
        """Distributions of prompts and of answers."""
        given, got = self._columns
        return TokenCounts.of(given), TokenCounts.of(got)

    @cached_property
    def correlation(self) -> float | None:
        """Correlation of a prompt's length with its answer's; None if either is constant."""
        given, got = (column.astype(float) for column in self._columns)
        if given.std() == 0.0 or got.std() == 0.0:
            return None
        return float(np.corrcoef(given, got)[0, 1])

    @cached_property
    def context_max(self) -> int:
        """The longest row."""
        given, got = self._columns
        return int((given + got).max())

    def within(self, context_tokens_max: int) -> "LengthRows":
        """The rows whose requests are no longer than this in all."""
        pairs = zip(self.input_tokens, self.output_tokens, strict=True)
        kept = [pair for pair in pairs if sum(pair) <= context_tokens_max]
        if not kept:
            raise InputError(f"{self.name} has no request of {context_tokens_max} tokens or fewer")
        given, got = zip(*kept, strict=True)
        return replace(
            self,
            input_tokens=given,
            output_tokens=got,
            dropped=self.dropped + len(self.input_tokens) - len(kept),
        )

    def with_outputs(self, factor: float, context_tokens_max: int) -> "LengthRows":
        """The rows with outputs that are `factor` times as long, cut where a request would be longer than allowed.

        >>> LengthRows((10, 90), (4, 8)).with_outputs(2.0, 100).output_tokens
        (8, 10)
        """
        pairs = zip(self.input_tokens, self.output_tokens, strict=True)
        got = tuple(max(1, min(round(factor * out), context_tokens_max - given)) for given, out in pairs)
        return replace(self, output_tokens=got, name=f"{self.name}, outputs x {factor:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthLaw:
    """A named law of counts, which are whole numbers of at least one, or of durations.

    Attributes:
        kind: constant, uniform, lognormal or gamma; geometric for counts, exponential for durations.
        mean: mean of the law; of a uniform law, of its ends. [counted, or s]
        cv: coefficient of variation of lognormal and gamma.
        low, high: ends of uniform.
        is_time: whether it is a law of durations.
    """

    kind: str
    mean: float
    cv: float = 0.0
    low: float = 0.0
    high: float = 0.0
    is_time: bool = False

    @property
    def typed(self) -> str:
        """The law as it is typed: lognormal:mean=512,cv=1."""
        if self.kind == "constant":
            return f"constant:{self._shown('mean')}"
        return f"{self.kind}:{','.join(f'{name}={self._shown(name)}' for name in _LAWS[self.kind])}"

    def _shown(self, name: str) -> str:
        value: float = getattr(self, name)
        return typed_duration(value) if self.is_time and name != "cv" else f"{value:.12g}"

    @property
    def largest(self) -> float:
        """The largest value; infinite of a law without an end."""
        return {"constant": self.mean, "uniform": self.high}.get(self.kind, math.inf)

    @property
    def mean_and_square(self) -> tuple[float, float]:
        """Mean of the counts and of their squares, as they are rounded."""
        values = self.at(LEVELS).astype(float)
        return float(values.mean()), float((values * values).mean())

    def times(self, factor: float) -> "LengthLaw":
        """The same law for counts that are `factor` times as large, and at least one on average."""
        if self.kind == "uniform":
            low, high = (float(max(1, round(factor * end))) for end in (self.low, self.high))
            return replace(self, mean=(low + high) / 2.0, low=low, high=high)
        return replace(self, mean=max(1.0, factor * self.mean))

    def seconds_at(self, uniforms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Quantiles of a law of durations at uniform numbers. [s]"""
        return np.asarray(self._quantiles(np.asarray(uniforms)), dtype=np.float64)

    def at(self, uniforms: npt.NDArray[np.float64]) -> Integers:
        """Quantiles of a law of counts at uniform numbers."""
        values = np.asarray(self._quantiles(np.asarray(uniforms)), dtype=float)
        whole: Integers = np.clip(np.rint(values), 1, TOKENS_MAX).astype(np.int64)
        return whole

    def _quantiles(self, u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        from scipy import special

        if self.kind == "constant":
            return np.full(u.shape, self.mean)
        if self.kind == "uniform":
            width = self.high - self.low
            return self.low + u * width if self.is_time else np.floor(self.low + u * (width + 1.0))
        if self.kind == "exponential":
            return -self.mean * np.log1p(-u)
        if self.kind == "geometric":
            rate = -math.log1p(-1.0 / self.mean) if self.mean > 1.0 else math.inf
            return np.floor(-np.log1p(-u) / rate) + 1.0
        if self.kind == "gamma":
            shape = 1.0 / self.cv**2
            return np.asarray(special.gammaincinv(shape, u) * (self.mean / shape), dtype=np.float64)
        spread = math.log1p(self.cv**2)
        normal = special.ndtri(np.clip(u, 1e-15, 1.0 - 1e-15))
        return self.mean * np.exp(math.sqrt(spread) * normal - spread / 2.0)


@dataclass(frozen=True)
class LengthLaws:
    """Input and output lengths from independent laws, cut where a request would be too long.

    Attributes:
        limit: largest number of tokens of input and output together; longer requests get fewer output tokens, then
            fewer input tokens.
    """

    input: LengthLaw
    output: LengthLaw
    limit: int = TOKENS_MAX

    @property
    def typed(self) -> str:
        """The laws as they are typed, without their limit.

        >>> parse_lengths("input=lognormal:mean=512,cv=1;output=geometric:mean=200").typed
        'input=lognormal:mean=512,cv=1;output=geometric:mean=200'
        """
        return f"input={self.input.typed};output={self.output.typed}"

    def draw(self, uniforms: npt.NDArray[np.float64]) -> Pairs:
        """Quantiles at both numbers."""
        return self._cut(self.input.at(uniforms[:, 0]), self.output.at(uniforms[:, 1]))

    def _cut(self, given: Integers, got: Integers) -> Pairs:
        given = np.minimum(given, self.limit - 1)
        return given, np.minimum(got, self.limit - given)

    @cached_property
    def moments(self) -> Moments:
        """Moments of the laws, each cut alone; the mean product of independent lengths is that of their means."""
        given, got = (np.minimum(law.at(LEVELS), self.limit - 1) for law in (self.input, self.output))
        one = moments_of(given, got)
        return Moments(input=one.input, output=one.output, product=one.input * one.output, square=one.square)

    @property
    def context_max(self) -> int:
        """Total at which laws without an end are cut, or that bounded laws reach."""
        return int(min(self.limit, self.input.largest + self.output.largest))

    def within(self, context_tokens_max: int) -> "LengthLaws":
        """The laws, cut at this total."""
        return LengthLaws(self.input, self.output, min(self.limit, context_tokens_max))

    def with_outputs(self, factor: float, context_tokens_max: int) -> "LengthLaws":
        """The laws with outputs that are `factor` times as long, cut where a request would be longer than allowed."""
        return replace(self, output=self.output.times(factor)).within(context_tokens_max)


def moments_of(given: Integers, got: Integers) -> Moments:
    """Moments of some prompts and their answers."""
    a, b = given.astype(float), got.astype(float)
    return Moments(
        input=float(a.mean()),
        output=float(b.mean()),
        product=float((a * b).mean()),
        square=float((b * b).mean()),
    )


def parse_lengths(text: str) -> LengthRows | LengthLaws:
    """Lengths from `--lengths`: a bundled name, a file of rows, or
    `input=lognormal:mean=512,cv=1;output=geometric:mean=200`.

    Raises:
        InputError: none of these.
    """
    if re.match(r"\s*(input|output)\s*=", text):
        parts = [part.partition("=") for part in text.split(";")]
        given = {name.strip(): law.strip() for name, _, law in parts}
        if set(given) != {"input", "output"} or len(parts) != 2:
            raise InputError(
                f"--lengths {quoted(text)} must say input and output once each: "
                "input=lognormal:mean=512,cv=1;output=geometric:mean=200"
            )
        return LengthLaws(parse_law(given["input"], "input"), parse_law(given["output"], "output"))
    if text in bundled_lengths():
        return _read_rows(files("capacity").joinpath("traffic", "bundled", f"{text}.csv").read_text(), text)
    return read_lengths(Path(text))


def bundled_lengths() -> list[str]:
    """Names of the bundled lengths, sorted."""
    entries = files("capacity").joinpath("traffic", "bundled").iterdir()
    return sorted(entry.name.removesuffix(".csv") for entry in entries if entry.name.endswith(".csv"))


_LAWS = {
    "uniform": ("low", "high"),
    "geometric": ("mean",),
    "exponential": ("mean",),
    "lognormal": ("mean", "cv"),
    "gamma": ("mean", "cv"),
}
_COUNTS = (
    "no law of lengths; use constant:200, geometric:mean=200, lognormal:mean=512,cv=1, gamma:mean=512,cv=1 or "
    "uniform:low=10,high=500"
)
_DURATIONS = (
    "no law of durations; use constant:5s, exponential:mean=20s, lognormal:mean=20s,cv=1, gamma:mean=20s,cv=1 or "
    "uniform:low=1s,high=30s"
)


def parse_law(text: str, name: str, *, is_time: bool = False) -> LengthLaw:
    """Law from `constant:200`, `geometric:mean=200` and the like; of durations from `exponential:mean=20s`.

    Raises:
        InputError: none of these.
    """
    kind, _, rest = text.partition(":")
    if kind == "constant":
        mean = _value(rest, f"{name}=constant", is_time=is_time)
        return LengthLaw(kind=kind, mean=mean, is_time=is_time)
    if kind not in _LAWS or kind == ("geometric" if is_time else "exponential"):
        raise InputError(f"{name}={quoted(text)} is {_DURATIONS if is_time else _COUNTS}")
    values = _values(rest, kind, name, is_time=is_time)
    if kind == "uniform":
        if values["low"] > values["high"]:
            raise InputError(
                f"{name}=uniform: low {values['low']:g} is above high {values['high']:g}; swap them"
            )
        return LengthLaw(kind=kind, mean=sum(values.values()) / 2.0, is_time=is_time, **values)
    if not 0.0 < values.get("cv", 1.0) <= 20.0:
        raise InputError(f"cv of {name} must be above 0 and at most 20, got {values['cv']:g}")
    return LengthLaw(kind=kind, is_time=is_time, **values)


def _values(text: str, kind: str, name: str, *, is_time: bool) -> dict[str, float]:
    """Parameters of a law, each once."""
    pairs = [part.partition("=") for part in text.split(",")]
    given = {key.strip(): value.strip() for key, _, value in pairs}
    if set(given) != set(_LAWS[kind]) or len(pairs) != len(_LAWS[kind]):
        raise InputError(f"{name}={kind} takes {' and '.join(_LAWS[kind])}, got {quoted(text)}")
    return {
        key: _number(value, f"cv of {name}")
        if key == "cv"
        else _value(value, f"{key} of {name}", is_time=is_time)
        for key, value in given.items()
    }


def _value(text: str, where: str, *, is_time: bool) -> float:
    """A number of tokens, or a duration in seconds."""
    if is_time:
        return parse_duration_s(text, where)
    value = _number(text, where)
    if not 1.0 <= value <= TOKENS_MAX:
        raise InputError(f"{where} must be from 1 to {TOKENS_MAX} tokens, got {text}")
    return value


def _number(text: str, where: str) -> float:
    if not is_number(text):
        raise InputError(f"{where} must be a number, got {quoted(text)}")
    return float(text)


def read_lengths(path: Path) -> LengthRows:
    """Lengths from a CSV with columns `input_tokens` and `output_tokens`; a remark names the other columns.

    Raises:
        InputError: names the file and the line of a row without lengths.
    """
    return _read_rows(read_text(path), printable(path.name))


def _read_rows(text: str, shown: str) -> LengthRows:
    _, given, got, unused = _columns(text, shown)
    return LengthRows(given, got, shown, remarks=unused)


def read_token_trace(path: Path) -> tuple[TraceArrivals, LengthRows]:
    """Arrivals and lengths from a CSV that has a column of times too, in order of time.

    Raises:
        InputError: names the file and the line of a row that lacks any of them.
    """
    shown = printable(path.name)
    stamps, given, got, unused = _columns(read_text(path), shown)
    if not stamps:
        raise InputError(f"{shown} has no column of times; name it t_s, t_ms, t_us, t_ns or timestamp")
    order, instants_s, remarks = unit_and_instants(*stamps[0], shown)
    arrivals = TraceArrivals(
        instants_s=instants_s, name=shown, remarks=(*remarks, *unused), path=repeatable(path)
    )
    return arrivals, LengthRows(tuple(given[i] for i in order), tuple(got[i] for i in order), shown)


def has_lengths(path: Path) -> bool:
    """Whether a trace has lengths, by its first line; a pipe, which can be read only once, is not asked."""
    if is_read_once(path):
        return False
    start = next(read_parts(path), b"").decode("utf-8-sig", errors="replace")
    _, header = next(csv_rows(f"{start}\n", printable(path.name), ""), (1, []))
    names = [cell.strip().lower() for cell in header]
    return any(name in names for name in INPUT_NAMES) and any(name in names for name in OUTPUT_NAMES)


def _columns(
    text: str, shown: str
) -> tuple[list[tuple[list[Stamp], str | None]], tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Stamps with their unit if there are any, columns of input and output, and a remark on the other columns."""
    rows = csv_rows(text, shown, "keep fewer rows")
    line, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]
    where = f"{shown} line {line}"
    given = place_of(names, INPUT_NAMES, where)
    got = place_of(names, OUTPUT_NAMES, where)
    units = {"t_s": "s", "t_ms": "ms", "t_us": "us", "t_ns": "ns", "timestamp": None}
    times = [at for at, name in enumerate(names) if name in units]
    stamps: list[Stamp] = []
    inputs: list[int] = []
    outputs: list[int] = []
    for line, row in rows:
        where = f"{shown} line {line}"
        if len(row) != len(names):
            raise InputError(f"{where}: {len(row)} cells for {len(names)} columns; complete or drop the row")
        inputs.append(token_count(row[given], f"{where}: {names[given]}"))
        outputs.append(token_count(row[got], f"{where}: {names[got]}"))
        if times:
            stamps.append(parse_stamp(row[times[0]].strip(), where))
    if not inputs:
        raise InputError(f"{shown} has no rows; give one a request")
    found = [(stamps, units[names[times[0]]])] if times else []
    unused = unused_columns([cell.strip() for cell in header], {given, got, *times[:1]}, shown)
    return found, tuple(inputs), tuple(outputs), unused


def place_of(names: Sequence[str], wanted: Sequence[str], where: str) -> int:
    """Place of the one column that has any of these names.

    Raises:
        InputError: there is none, or more than one.
    """
    found = [at for at, name in enumerate(names) if name in wanted]
    if len(found) != 1:
        fault = "no column" if not found else "more than one column"
        raise InputError(
            f"{where}: {fault} {wanted[0]}; a request of a language model has input_tokens and output_tokens"
        )
    return found[0]


def token_count(cell: str, where: str) -> int:
    """A number of tokens from a cell.

    Raises:
        InputError: the cell is no whole number, or one out of range.
    """
    text = cell.strip()
    if not re.fullmatch(r"[0-9]{1,9}(?:\.0{1,6})?", text):
        raise InputError(f"{where} must be a whole number of tokens, got {quoted(text)}")
    count = int(float(text))
    if not 1 <= count <= TOKENS_MAX:
        raise InputError(f"{where} must be from 1 to {TOKENS_MAX} tokens, got {text}; drop the row")
    return count
