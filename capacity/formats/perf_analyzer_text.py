"""perf_analyzer's text output: a block for each load that it tried, and a line for each at the end, in µs.

Blocks may be missing, for instance if only the end was kept. The latency at the end is the mean, unless its headline
names a percentile (`--percentile`). Throughput counts inferences; a request has as many as `Batch size` says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from capacity.errors import InputError
from capacity.files import printable
from capacity.formats.document import Document, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.table import amount
from capacity.performance import Interval

NAME = "perf_analyzer (what it prints)"
_LINE_MAX = 1000
_NUMBER = r"([0-9][0-9.eE+-]{0,30})"
_BLOCK = re.compile(rf"(Request concurrency|Request Rate): {_NUMBER}(?: inference requests per seconds?)?\s*")
_END = re.compile(
    rf"(Concurrency|Request Rate): {_NUMBER}, (?:throughput: )?{_NUMBER} infer/sec, latency {_NUMBER} usec\s*"
)
_HEADLINE = re.compile(r"Inferences/Second vs\. Client (Average|p[0-9]+) Batch Latency\s*")
_FIGURES = {
    "throughput": re.compile(rf"Throughput: {_NUMBER} infer/sec"),
    "mean": re.compile(rf"Avg latency: {_NUMBER} usec"),
    "succeeded": re.compile(rf"Request count: {_NUMBER}"),
    "failed": re.compile(rf"Failed Request Count: {_NUMBER}", re.IGNORECASE),
}
_PERCENTILE = re.compile(rf"p([0-9]{{1,2}}) latency: {_NUMBER} usec")
_SERVER = re.compile(r"Avg request latency: [0-9]+ usec \((.+)\)")
_STAGE = re.compile(
    rf"(overhead|queue|cache hit|cache miss|compute(?: input| infer| output)?) {_NUMBER} usec"
)
_BATCH = re.compile(r"Batch size: ([0-9]{1,6})\s*")
_MICROSECOND = 1e-6


@dataclass
class _Block:
    """The printed figures of one load."""

    kind: str
    load: float
    figures: dict[str, float] = field(default_factory=dict)
    quantiles: dict[float, float] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, float]:
        """What identifies a block."""
        return self.kind, self.load


def recognises(document: Document) -> bool:
    """Whether it has one of the lines at the end."""
    is_text = document.path is None and not document.head.startswith(("{", "[", "<", "#"))
    return (
        is_text and " infer/sec" in document.start and any(_END.match(line) for _, line in _lines(document))
    )


def read_load_test(document: Document) -> LoadTest:
    """A run for each load, in the order in which they were tried.

    Raises:
        InputError: numbers that cannot be.

    Source:
        perf_analyzer, src/inference_profiler.cc and src/perf_analyzer.cc; docs/README.md, Quick Start.
    """
    blocks, batch_size = _read(document)
    notes = []
    if batch_size is None:
        notes.append(
            "the batch size of the client (-b) is not in the text, and throughput counts inferences; it is taken as 1"
        )
    runs = tuple(placed(document, document.name, partial(_run, one, batch_size)) for one in blocks)
    return LoadTest(tool="perf_analyzer", name=document.name, runs=runs, notes=tuple(notes))


def _lines(document: Document) -> Iterator[tuple[str, str]]:
    """Place of each line, and the line without the bullets of notes that it was pasted into."""
    for at, line in enumerate(document.text.splitlines(), 1):
        if len(line) < _LINE_MAX:
            yield f"{document.name} line {at}", line.strip().lstrip("* ")


def _read(document: Document) -> tuple[list[_Block], int | None]:
    """The blocks, completed by the lines at the end, and the batch size."""
    blocks: dict[tuple[str, float], _Block] = {}
    loose = _Block("", 0.0)  # figures before the first load: the beginning was cut off
    current, latency, batch_size = loose, "mean", None
    for where, line in _lines(document):
        if found := _BLOCK.fullmatch(line):
            kind = "Request Rate" if found[1] == "Request Rate" else "Concurrency"
            block = _Block(kind, amount(found[2], where))
            current = blocks.setdefault(block.key, block)
        elif found := _HEADLINE.fullmatch(line):
            latency = "mean" if found[1] == "Average" else found[1]
        elif found := _BATCH.fullmatch(line):
            batch_size = int(found[1])
        elif found := _END.fullmatch(line):
            block = _Block(found[1], amount(found[2], where))
            _end(blocks.setdefault(block.key, block), latency, found, where)
        else:
            _figures(current, line, where)
    if len(blocks) == 1:
        (only,) = blocks.values()
        only.stages = only.stages or loose.stages
    return list(blocks.values()), batch_size


def _end(block: _Block, latency: str, found: re.Match[str], where: str) -> None:
    """Fill in from a line at the end what the block did not say."""
    block.figures.setdefault("throughput", amount(found[3], where))
    if latency == "mean":
        block.figures.setdefault("mean", amount(found[4], where))
    else:
        block.quantiles.setdefault(int(latency[1:3]) / 100.0, amount(found[4], where))


def _figures(block: _Block, line: str, where: str) -> None:
    """Read a line within a block; unknown lines are skipped."""
    for name, pattern in _FIGURES.items():
        if found := pattern.match(line):
            block.figures[name] = amount(found[1], where)
    if found := _PERCENTILE.match(line):
        block.quantiles[int(found[1]) / 100.0] = amount(found[2], where)
    if found := _SERVER.match(line):
        block.stages = {stage: amount(value, where) for stage, value in _STAGE.findall(found[1])}


def _run(block: _Block, told: int | None) -> LoadRun:
    """The run of a block; its client batch may not have been printed."""
    batch_size = 1 if told is None else told
    if batch_size < 1:
        raise InputError(f"the batch size must be at least 1, got {batch_size}; is the text whole?")
    is_closed = block.kind == "Concurrency"
    mean, throughput = block.figures.get("mean"), block.figures.get("throughput")
    succeeded, failed = block.figures.get("succeeded"), block.figures.get("failed")
    return LoadRun(
        name=printable(f"{block.kind.lower()} {block.load:g}"),
        loop=Loop.CLOSED if is_closed else Loop.OPEN,
        users=block.load if is_closed else None,
        rate_asked_rps=None if is_closed else block.load,
        throughput_rps=None if throughput is None else throughput / batch_size,
        succeeded=None if succeeded is None else int(succeeded),
        failed=None if failed is None else int(failed),
        mean_s=None if mean is None else _MICROSECOND * mean,
        quantiles_s={q: Interval.exact(_MICROSECOND * value) for q, value in block.quantiles.items()},
        stages_s={stage: _MICROSECOND * value for stage, value in block.stages.items()},
        batch_size=batch_size,
        counts_inferences=told is None,
        resolution_s=_MICROSECOND,
    )


READERS = {"load-test": read_load_test}
