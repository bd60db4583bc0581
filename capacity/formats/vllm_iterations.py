"""The log of vLLM with `--enable-logging-iteration-details`: a line for each step, and the size of the KV cache.

An engine that drafts schedules several tokens for each request that decodes, and logs every ten seconds how many were
accepted. The elapsed time is that of the model and the sampler; with asynchronous scheduling it is what the engine
waited for them. What the engine does between two steps is in neither.
"""

import re
from dataclasses import dataclass, field

from capacity.errors import InputError
from capacity.formats.document import Document
from capacity.profile.llm_steps import SeenStep, SeenSteps
from capacity.profile.speculation import Speculation, together

NAME = "vllm serve --enable-logging-iteration-details, its log"
_STEP = re.compile(
    r"Iteration\((\d{1,12})\): (\d{1,9}) context requests, (\d{1,9}) context tokens, (\d{1,9}) generation requests, "
    r"(\d{1,9}) generation tokens, iteration elapsed time: (\d{1,9}\.\d{1,6}) ms( \(dummy\))?"
    r"(?:, .{0,40}KV cache usage: (\d{1,3}\.\d{1,3})%(, encoder inputs)?)?"
)
_ENGINE = re.compile(r"Engine (\d{1,6}): ")
_DRAFTS = re.compile(
    r"SpecDecoding metrics: .{0,200}Drafted: (\d{1,12}) tokens, Per-position acceptance rate: ([0-9., ]{5,600}), Avg"
)
_SIZE = re.compile(r"KV cache size: (\d{1,3}(?:,\d{3}){0,4}|\d{1,12}) tokens")
_MARK = "iteration elapsed time: "


def recognises(document: Document) -> bool:
    """Whether a line near its beginning is of a step."""
    return not document.head.startswith(("{", "[")) and any(
        _MARK in line and _STEP.search(line) for line in document.first_lines
    )


def read_steps(document: Document) -> tuple[SeenSteps, ...]:
    """The steps of each engine in the log, without dummies and steps that encode images.

    Raises:
        InputError: counts that cannot be, or no step at all.

    Source:
        vLLM 0.33, vllm/v1/metrics/loggers.py, `_log_iteration_details`; vllm/v1/utils.py,
        `compute_iteration_details`; vllm/v1/spec_decode/metrics.py, `SpecDecodingLogging`.
    """
    engines: dict[int, _Engine] = {}
    kv_tokens, encoders = None, 0
    for number, line in document.records():
        size = _SIZE.search(line)
        if size:
            kv_tokens = int(size[1].replace(",", ""))
        if drafts := _DRAFTS.search(line):
            engines.setdefault(_engine(line), _Engine()).accepted.append(_accepted(drafts))
        if _MARK not in line:
            continue
        where = f"{document.name} line {number}"
        found = _STEP.search(line)
        if found is None:
            raise InputError(f"{where} is cut off, or not of vLLM's form; drop it")
        encoders += bool(found[9])
        if not (found[7] or found[9]):
            engines.setdefault(_engine(line), _Engine()).add(found, where)
    with_steps = {number: engine for number, engine in engines.items() if engine.steps}
    if not with_steps:
        raise InputError(f"{document.name} has no step of requests; log some under load")
    return tuple(
        SeenSteps(
            name=document.name if len(with_steps) == 1 else f"{document.name} engine {number}",
            steps=tuple(engine.steps),
            kv_tokens=kv_tokens,
            source=_source(encoders),
            draft_tokens=engine.draft_tokens,
            speculation=engine.speculation,
        )
        for number, engine in with_steps.items()
    )


@dataclass(slots=True)
class _Engine:
    """What one engine has logged: its steps, and of each ten seconds the tokens drafted and the rates accepted.

    Attributes:
        requests, drafted: requests that decode in the steps, and tokens drafted for them.
        draft_tokens: most for a request.
    """

    steps: list[SeenStep] = field(default_factory=list)
    accepted: list[tuple[float, tuple[float, ...]]] = field(default_factory=list)
    requests: int = 0
    drafted: int = 0
    draft_tokens: int = 0

    def add(self, found: "re.Match[str]", where: str) -> None:
        """Add a step."""
        self.steps.append(_step(found, where))
        requests, tokens = int(found[4]), int(found[5])
        if requests:
            self.requests, self.drafted = self.requests + requests, self.drafted + tokens - requests
            self.draft_tokens = max(self.draft_tokens, -(-tokens // requests) - 1)

    @property
    def speculation(self) -> Speculation | None:
        """What was accepted in a step, of which some may have drafted nothing; None if the log does not say."""
        rated = [(weight, rates) for weight, rates in self.accepted if weight]
        if not self.drafted or not rated:
            return None
        drafted = [
            Speculation(draft_tokens=len(rates), acceptance_rates=rates, in_steps=True) for _, rates in rated
        ]
        found = together(drafted, [weight for weight, _ in rated])
        return found.in_share(self.drafted / (found.draft_tokens * self.requests))


def _engine(line: str) -> int:
    found = _ENGINE.search(line)
    return int(found[1]) if found else 0


def _accepted(found: "re.Match[str]") -> tuple[float, tuple[float, ...]]:
    """Tokens drafted since the line before, and the rates accepted."""
    return float(found[1]), tuple(float(rate) for rate in found[2].split(", "))


def _source(encoders: int) -> dict[str, str]:
    source = {
        "steps": "elapsed times of iterations in vLLM's log, without what the engine does between two of them",
        "read": "tokens read, from the use of the KV cache at the end of each step, which the log rounds",
    }
    if encoders:
        source["encoders"] = f"{encoders} steps that encoded images or sound were left out"
    return source


def _step(found: "re.Match[str]", where: str) -> SeenStep:
    prompts, tokens, requests = (int(found[at]) for at in (2, 3, 4))
    if not (tokens or requests) or bool(tokens) != bool(prompts):
        raise InputError(
            f"{where} has counts that cannot be: {prompts} context requests with {tokens} tokens"
        )
    seconds, used = float(found[6]) / 1e3, found[8]
    if seconds <= 0.0:
        raise InputError(f"{where} has a step of {found[6]} ms; no step takes no time")
    return SeenStep(
        prompts, tokens, 0, requests, None, None if used is None else float(used) / 100.0, seconds
    )


READERS = {"steps": read_steps}
