"""llama.cpp's server: a small model in a process of its own, a stream of requests, and its log of each step.

    python benchmarks/llama_server.py FOLDER < stream.json     # what `record` runs; the log goes to stderr

With `serve` after the folder it prints its address, and serves until its input ends.

It needs the packages xllamacpp and gguf.
"""

import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_WORDS_FROM = 259  # three control tokens and the bytes come before the words


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Requests in bursts, so that slots run out on any machine, and the server that gets them.

    Attributes:
        gap_s: mean time between two bursts. [s]
        burst: mean number of requests in one.
        width, layers, vocabulary: sizes of the model.
    """

    requests: int
    gap_s: float
    burst: float = 3.0
    prompt_max: int = 100
    outputs: tuple[int, ...] = (1, 1, 2, 8, 20)
    slots: int = 4
    slot_tokens: int = 256
    batch_tokens: int = 32
    width: int = 64
    layers: int = 2
    vocabulary: int = 512
    seed: int = 0

    def drawn(self) -> Iterator[tuple[float, int, int]]:
        """Time since the previous request, input and output tokens."""
        draw = random.Random(self.seed)
        for _ in range(self.requests):
            begins = draw.random() < 1.0 / self.burst
            gap_s = draw.expovariate(1.0 / self.gap_s) if begins else 0.0
            yield gap_s, draw.randint(1, self.prompt_max), draw.choice(self.outputs)


@dataclass(kw_only=True)
class Loop:
    """One turn of the server's loop: it takes tasks from its queue, and composes and computes a step.

    Attributes:
        taken: tasks in the order in which they were looked at.
        deferred, launched: tasks that found no slot, and the slots of the others.
        composed_s: when all were taken; the step before this one ends here. [s]
        decoding: task, slot and earlier tokens, in the order of the step.
        prompts: likewise.
        token_s: when tasks got a token. [s]
        released, popped: slots, and deferred tasks that their release called, in order.
    """

    taken: list[int] = field(default_factory=list)
    deferred: list[int] = field(default_factory=list)
    launched: dict[int, int] = field(default_factory=dict)
    composed_s: float = -1.0
    decoding: list[tuple[int, int, int]] = field(default_factory=list)
    prompts: list[tuple[int, int, int]] = field(default_factory=list)
    token_s: dict[int, float] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    popped: list[int] = field(default_factory=list)

    @property
    def has_step(self) -> bool:
        """Whether anything was computed."""
        return bool(self.decoding or self.prompts)


@dataclass(kw_only=True)
class Recording:
    """The recorded log.

    Attributes:
        posted_s: when each task was queued, in this order. [s]
        input, output: tokens of each task.
    """

    stream: Stream
    posted_s: dict[int, float] = field(default_factory=dict)
    input: dict[int, int] = field(default_factory=dict)
    output: dict[int, int] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)


def record(stream: Stream, folder: Path, timeout_s: float = 600.0) -> Recording:
    """Serve a stream, and read its log.

    Raises:
        RuntimeError: the server failed, or its log has unknown words.
    """
    log = folder / "server.log"
    with log.open("wb") as errors:
        done = subprocess.run(
            [sys.executable, __file__, str(folder)],
            input=json.dumps(asdict(stream)).encode(),
            stderr=errors,
            timeout=timeout_s,
            check=False,
        )
    text = log.read_text(encoding="utf-8", errors="replace")
    if done.returncode:
        raise RuntimeError(f"the server ended with {done.returncode}: {text[-500:]}")
    found = read_log(text, stream)
    if len(found.output) != stream.requests:
        raise RuntimeError(
            f"the log tells of {len(found.output)} of {stream.requests} requests: {text[:500]}"
        )
    return found


# ---- The log --------------------------------------------------------------------------------

# A line may follow another without a break, so stamps are searched anywhere.
_LINE = re.compile(r"(\d+)\.(\d\d)\.(\d{3})\.(\d{3}) [A-Z] (?:que|slot|srv) +(\S+): (.*)")
_SLOT = re.compile(r"id +(\d+) \| task (\d+) \| (.*)")
_SAYS = (
    ("post", re.compile(r"new task, id = (\d+)/1, front = 0")),
    ("process_new_", re.compile(r"processing task, id = (\d+)")),
    ("defer", re.compile(r"defer task, id = (\d+)")),
    ("pop_deferred", re.compile(r"pop deferred task, id_task = (\d+)")),
    ("start_loop", re.compile(r"(processing new tasks|update slots)")),
)
_SAYS_OF_SLOTS = (
    ("launch_slot_", re.compile(r"(processing task)")),
    ("new prompt", re.compile(r"new prompt, .*task\.n_tokens = (\d+)")),
    ("prompt", re.compile(r"cached n_tokens = (\d+), ")),
    ("handle_last_", re.compile(r"slot decode token, .*n_tokens = (\d+),")),
    ("limit", re.compile(r"stopped by limit, .*n_predict = (\d+)")),
    ("token", re.compile(r"n_gen = (\d+), n_remaining")),
    ("release", re.compile(r"(stop processing): ")),
)


def read_log(text: str, stream: Stream) -> Recording:
    """The recorded steps from a log of the server."""
    reader = _Reader(Recording(stream=stream))
    for line in _LINE.finditer(text):
        minutes, seconds, thousandths, millionths = (int(one) for one in line.groups()[:4])
        now_s = 60 * minutes + seconds + (1_000 * thousandths + millionths) / 1e6
        place, words = line[5], line[6]
        if of_slot := _SLOT.match(words):
            for name, says in _SAYS_OF_SLOTS:
                if found := says.match(of_slot[3]):
                    reader.of_slot(name, now_s, int(of_slot[2]), int(of_slot[1]), found[1])
            continue
        for name, says in _SAYS:
            if place == name and (found := says.match(words)):
                reader.of_queue(name, now_s, found[1])
    return reader.finished()


class _Reader:
    """Reads a log line by line."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.loop = Loop()
        self.takes = False  # tasks that come up while a step is computed are put back

    def of_queue(self, name: str, now_s: float, said: str) -> None:
        if said == "processing new tasks":
            self.loop, self.takes = Loop(), True
            self.recording.loops.append(self.loop)
        elif said == "update slots":
            self.loop.composed_s, self.takes = now_s, False
        elif name == "post":
            self.recording.posted_s[int(said)] = now_s
        elif name == "process_new_" and self.takes:
            self.loop.taken.append(int(said))
        elif name == "defer":
            self.loop.deferred.append(int(said))
        elif name == "pop_deferred":
            self.loop.popped.append(int(said))

    def of_slot(self, name: str, now_s: float, task: int, slot: int, said: str) -> None:
        if name == "launch_slot_":
            self.loop.launched[task] = slot
        elif name == "new prompt":
            self.recording.input[task] = int(said)
        elif name == "prompt":
            self.loop.prompts.append((task, slot, int(said)))
        elif name == "handle_last_":
            self.loop.decoding.append((task, slot, int(said)))
        elif name == "limit":
            self.recording.output[task] = int(said)
        elif name == "token":
            self.loop.token_s[task] = now_s
        elif name == "release":
            self.loop.released.append(slot)

    def finished(self) -> Recording:
        """The recording, without the server's own tasks, and without the turn in which it was told to end."""
        ours = self.recording.posted_s.keys()
        self.recording.loops = [loop for loop in self.recording.loops if loop.composed_s >= 0.0]
        for loop in self.recording.loops:
            loop.taken = [task for task in loop.taken if task in ours]
        return self.recording


# ---- The server -----------------------------------------------------------------------------


def write_model(path: Path, stream: Stream) -> None:
    """A model of random weights, the same bytes for the same seed."""
    import gguf
    import numpy as np

    width, layers, vocabulary = stream.width, stream.layers, stream.vocabulary
    generator, heads = np.random.default_rng(stream.seed), max(1, width // 64)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(stream.slots * stream.slot_tokens)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(vocabulary)
    control, byte, word = ["<unk>", "<s>", "</s>"], [f"<0x{one:02X}>" for one in range(256)], "\u2581w{}"
    words = [word.format(one) for one in range(vocabulary - _WORDS_FROM)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*control, *byte, *words])
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * len(words)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def add(name: str, rows: int, columns: int, silent: int = 0) -> None:
        values = (0.05 * generator.standard_normal((rows, columns))).astype(np.float32)
        values[:silent] = 0.0
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd", vocabulary, width)
    add("output", vocabulary, width, silent=_WORDS_FROM)  # half a character would hold tokens back
    norms = ["output_norm", *(f"blk.{i}.{one}_norm" for i in range(layers) for one in ("attn", "ffn"))]
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
    for i in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{i}.{name}", width, width)
        add(f"blk.{i}.ffn_gate", 2 * width, width)
        add(f"blk.{i}.ffn_up", 2 * width, width)
        add(f"blk.{i}.ffn_down", width, 2 * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _server(stream: Stream, model: Path) -> Any:
    """llama.cpp's server with slots that share nothing, no cache of prompts, one thread, and full logging."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.n_parallel, settings.n_ctx = stream.slots, stream.slots * stream.slot_tokens
    settings.n_batch = settings.n_ubatch = stream.batch_tokens
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.kv_unified = settings.cache_prompt = settings.fit_params = settings.warmup = False
    settings.slot_prompt_similarity, settings.cache_ram_mib, settings.n_ctx_checkpoints = 0.0, 0, 0
    settings.endpoint_metrics = True
    settings.verbosity = 5
    return xllamacpp.Server(settings)


@contextmanager
def served(stream: Stream, folder: Path) -> Iterator[str]:
    """Address of an idle server in a process of its own; its log is in the folder."""
    with (folder / "server.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, str(folder), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018  (both are pipes)
    try:
        process.stdin.write(json.dumps(asdict(stream)) + "\n")
        process.stdin.flush()
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(30.0)
        process.stdout.close()


def main() -> None:
    folder = Path(sys.argv[1])
    stream = Stream(**json.loads(sys.stdin.readline()))
    model = folder / "model.gguf"
    write_model(model, stream)
    server = _server(stream, model)
    if sys.argv[2:] == ["serve"]:
        print(server.listening_address, flush=True)
        sys.stdin.read()  # until the caller is done
        return

    def ask(given: int, got: int) -> None:
        prompt = [_WORDS_FROM + 1 + number % 200 for number in range(given)]
        asked = {"prompt": prompt, "n_predict": got, "ignore_eos": True, "top_k": 1}
        server.handle_completions(asked)

    clients = []
    for gap_s, given, got in stream.drawn():
        time.sleep(gap_s)
        clients.append(threading.Thread(target=ask, args=(given, got)))
        clients[-1].start()
    for client in clients:
        client.join()


if __name__ == "__main__":
    main()
