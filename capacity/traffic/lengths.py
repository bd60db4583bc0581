"""Lengths: tokens in and out of requests, drawn together so that their correlation is kept."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from capacity.errors import DomainError, InputError, quoted
from capacity.files import csv_rows, is_read_once, printable, read_parts, read_text, repeatable
from capacity.traffic.trace import Stamp, parse_stamp, unit_and_instants, unused_columns
from capacity.traffic.workload import TraceArrivals
from capacity.units import is_number

Integers = npt.NDArray[np.int64]
Pairs = tuple[Integers, Integers]

TOKENS_MAX = 10_000_000
_LEVELS = 20_001  # quantiles of a named law that its moments are summed over
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
        return _moments(*self._columns)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthLaw:
    """A named law of token counts, rounded to whole numbers of at least one.

    Attributes:
        kind: constant, uniform, geometric, lognormal or gamma.
        mean: mean of the law; of a uniform law, of its ends.
        cv: coefficient of variation of lognormal and gamma.
        low, high: ends of uniform.
    """

    kind: str
    mean: float
    cv: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def typed(self) -> str:
        """The law as it is typed: lognormal:mean=512,cv=1."""
        if self.kind == "constant":
            return f"constant:{self.mean:.12g}"
        return f"{self.kind}:{','.join(f'{name}={getattr(self, name):.12g}' for name in _LAWS[self.kind])}"

    def at(self, uniforms: npt.NDArray[np.float64]) -> Integers:
        """Quantiles at uniform numbers."""
        values = np.asarray(self._quantiles(np.asarray(uniforms)), dtype=float)
        whole: Integers = np.clip(np.rint(values), 1, TOKENS_MAX).astype(np.int64)
        return whole

    def _quantiles(self, u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        from scipy import special

        if self.kind == "constant":
            return np.full(u.shape, self.mean)
        if self.kind == "uniform":
            return np.floor(self.low + u * (self.high - self.low + 1.0))
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
        levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
        given, got = (np.minimum(law.at(levels), self.limit - 1) for law in (self.input, self.output))
        one = _moments(given, got)
        return Moments(input=one.input, output=one.output, product=one.input * one.output, square=one.square)

    @property
    def context_max(self) -> int:
        """Total at which laws without an end are cut, or that bounded laws reach."""
        ends = [law.mean if law.kind == "constant" else law.high for law in (self.input, self.output)]
        if all(law.kind in ("constant", "uniform") for law in (self.input, self.output)):
            return min(self.limit, int(sum(ends)))
        return self.limit

    def within(self, context_tokens_max: int) -> "LengthLaws":
        """The laws, cut at this total."""
        return LengthLaws(self.input, self.output, min(self.limit, context_tokens_max))


def _moments(given: Integers, got: Integers) -> Moments:
    a, b = given.astype(float), got.astype(float)
    return Moments(
        input=float(a.mean()),
        output=float(b.mean()),
        product=float((a * b).mean()),
        square=float((b * b).mean()),
    )


AnyLengths = LengthRows | LengthLaws


def parse_lengths(text: str) -> AnyLengths:
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
        return LengthLaws(_parse_law(given["input"], "input"), _parse_law(given["output"], "output"))
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
    "lognormal": ("mean", "cv"),
    "gamma": ("mean", "cv"),
}


def _parse_law(text: str, name: str) -> LengthLaw:
    """Law from `constant:200`, `geometric:mean=200` and the like."""
    kind, _, rest = text.partition(":")
    if kind == "constant":
        mean = _tokens(rest, f"{name}=constant")
        return LengthLaw(kind=kind, mean=mean)
    if kind not in _LAWS:
        raise InputError(
            f"{name}={quoted(text)} is no law of lengths; use constant:200, geometric:mean=200, "
            "lognormal:mean=512,cv=1, gamma:mean=512,cv=1 or uniform:low=10,high=500"
        )
    pairs = [part.partition("=") for part in rest.split(",")]
    given = {key.strip(): value.strip() for key, _, value in pairs}
    if set(given) != set(_LAWS[kind]) or len(pairs) != len(_LAWS[kind]):
        raise InputError(f"{name}={kind} takes {' and '.join(_LAWS[kind])}, got {quoted(rest)}")
    values = {key: _tokens(value, f"{key} of {name}", is_count=key != "cv") for key, value in given.items()}
    if kind == "uniform":
        if values["low"] > values["high"]:
            raise InputError(
                f"{name}=uniform: low {values['low']:g} is above high {values['high']:g}; swap them"
            )
        return LengthLaw(kind=kind, mean=sum(values.values()) / 2.0, **values)
    if not 0.0 < values.get("cv", 1.0) <= 20.0:
        raise InputError(f"cv of {name} must be above 0 and at most 20, got {values['cv']:g}")
    return LengthLaw(kind=kind, **values)


def _tokens(text: str, where: str, *, is_count: bool = True) -> float:
    if not is_number(text):
        raise InputError(f"{where} must be a number, got {quoted(text)}")
    value = float(text)
    if is_count and not 1.0 <= value <= TOKENS_MAX:
        raise InputError(f"{where} must be from 1 to {TOKENS_MAX} tokens, got {text}")
    return value


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
    given = _place(names, INPUT_NAMES, where)
    got = _place(names, OUTPUT_NAMES, where)
    units = {"t_s": "s", "t_ms": "ms", "t_us": "us", "t_ns": "ns", "timestamp": None}
    times = [at for at, name in enumerate(names) if name in units]
    stamps: list[Stamp] = []
    inputs: list[int] = []
    outputs: list[int] = []
    for line, row in rows:
        where = f"{shown} line {line}"
        if len(row) != len(names):
            raise InputError(f"{where}: {len(row)} cells for {len(names)} columns; complete or drop the row")
        inputs.append(_count(row[given], f"{where}: {names[given]}"))
        outputs.append(_count(row[got], f"{where}: {names[got]}"))
        if times:
            stamps.append(parse_stamp(row[times[0]].strip(), where))
    if not inputs:
        raise InputError(f"{shown} has no rows; give one a request")
    found = [(stamps, units[names[times[0]]])] if times else []
    unused = unused_columns([cell.strip() for cell in header], {given, got, *times[:1]}, shown)
    return found, tuple(inputs), tuple(outputs), unused


def _place(names: Sequence[str], wanted: Sequence[str], where: str) -> int:
    found = [at for at, name in enumerate(names) if name in wanted]
    if len(found) != 1:
        fault = "no column" if not found else "more than one column"
        raise InputError(
            f"{where}: {fault} {wanted[0]}; a request of a language model has input_tokens and output_tokens"
        )
    return found[0]


def _count(cell: str, where: str) -> int:
    text = cell.strip()
    if not re.fullmatch(r"[0-9]{1,9}(?:\.0{1,6})?", text):
        raise InputError(f"{where} must be a whole number of tokens, got {quoted(text)}")
    count = int(float(text))
    if not 1 <= count <= TOKENS_MAX:
        raise InputError(f"{where} must be from 1 to {TOKENS_MAX} tokens, got {text}; drop the row")
    return count


def require_context(lengths: AnyLengths, context_tokens_max: int, what: str) -> None:
    """Refuse requests longer than what was measured, or than the engine allows.

    Raises:
        DomainError: says how many there are.
    """
    if lengths.context_max <= context_tokens_max:
        return
    if isinstance(lengths, LengthLaws):
        raise DomainError(
            f"--lengths has requests beyond the {context_tokens_max} tokens of context that {what}; "
            f"cut them with --context-tokens-max {context_tokens_max}"
        )
    total = np.array(lengths.input_tokens) + np.array(lengths.output_tokens)
    long = int((total > context_tokens_max).sum())
    raise DomainError(
        f"{long} of {len(total)} requests of {lengths.name} {'is' if long == 1 else 'are'} longer than the "
        f"{context_tokens_max} tokens of context that {what}, up to {lengths.context_max}; leave out what is longer "
        f"with --context-tokens-max {context_tokens_max}"
    )
