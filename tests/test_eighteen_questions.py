"""Nineteen questions that people bring: the line of README and of help that leads to each command, and its answer."""

import shlex
from dataclasses import dataclass

import in_process
import pytest
from readme import ROOT, answered, questions

ROWS = dict(questions())


@dataclass(frozen=True, kw_only=True)
class Question:
    """What somebody asks, what leads them to the command, and what its answer has to say."""

    asked: str
    row: str  # of README's table
    help_of: str  # the verb whose help names it too; "" for that of `capacity` alone
    help_says: str
    words: tuple[str, ...]
    code: int = 0
    is_long: bool = False  # above five seconds


QUESTIONS = (
    Question(
        asked="How many replicas, and which batch, for this rate and P99?",
        row="How many replicas, and which batches?",
        help_of="",
        help_says="plan The cheapest fleet that meets the objective",
        words=("4 replicas of", "with batches up to 16", "P99 is 18.2", "One fewer is not enough"),
    ),
    Question(
        asked="What is the largest rate that my replicas carry?",
        row="What load do my replicas carry?",
        help_of="",
        help_says="max-rate What load a fleet can handle",
        words=("2 replicas of", "within P99 <= 40 ms", "is too much"),
    ),
    Question(
        asked="Where does P99 explode for my profile, as a picture?",
        row="Where does P99 explode, as a picture?",
        help_of="",
        help_says="curve Where waiting explodes",
        words=("It doubles between load", "It reaches 10 times that", "response [ms]"),
        is_long=True,
    ),
    Question(
        asked="Which batch size and queue delay, in Triton's own words?",
        row="Which batch size and queue delay, in Triton's own words?",
        help_of="render",
        help_says="capacity render plan.json --target triton",
        words=("max_batch_size: 16", "max_queue_delay_microseconds: 0", "instance_group"),
    ),
    Question(
        asked="My traffic is bursty, a CSV of timestamps: what does that cost?",
        row="My traffic is bursty: what does that cost?",
        help_of="plan",
        help_says="trace:FILE",
        words=("Under Poisson arrivals 1 would be enough", "1 replica of", "Cost:"),
    ),
    Question(
        asked="Many small or few big instances, GPU or CPU, INT8 or FP16: what would each need and cost?",
        row="INT8 or FP16, GPU or CPU, many small or few big instances?",
        help_of="plan",
        help_says="Repeat to choose between several",
        words=(
            "2 replicas of bert-large-384-l40s-int8",
            "Instead: bert-large-384-l40s-fp16 takes 3",
            "USD/h",
        ),
    ),
    Question(
        asked="Which is the cheapest plan over several devices with prices, and what do the others cost?",
        row="Which device, and what would the others cost?",
        help_of="plan",
        help_says="Price of a device in USD per hour; with several profiles NAME=PRICE",
        words=("for 2.104 USD/h", "resnet50-a100-fp16 takes 2, 6.862 USD/h", "resnet50-v100-fp16 takes 2"),
    ),
    Question(
        asked="Does this release, a new profile, need more replicas?",
        row="Does this release need more replicas?",
        help_of="",
        help_says="check Check whether a saved plan still meets its objective",
        words=("the plan does not hold", "needs 15 replicas", "the plan has 4 replicas"),
        code=3,
    ),
    Question(
        asked="A zone dies, or a rolling update runs: how many then?",
        row="A zone dies, or a rolling update runs: how many then?",
        help_of="plan",
        help_says="Meet the objective during a rolling update",
        words=("6 replicas of", "With one of 3 zones gone: 4 are left", "With rolling update: 5 are left"),
        is_long=True,
    ),
    Question(
        asked="Which HPA or KEDA target?",
        row="Which HPA or KEDA target, and what does it save?",
        help_of="",
        help_says="autoscale Autoscaled beside fixed",
        words=(
            "The autoscaled fleet takes 2.13 USD",
            "over the limit of 200 ms; --autoscale utilization:0.64 holds it for 5 %",
            "less than 3 replicas all the time",
        ),
        code=3,
        is_long=True,
    ),
    Question(
        asked="Traffic doubles in a minute and pods start in 60 s: how many must wait ready?",
        row="Traffic doubles at once, and pods take a minute to start: how many must wait ready?",
        help_of="plan",
        help_says="Sudden jump in traffic to handle: 2x; with --startup-time",
        words=(
            "7 replicas of",
            "With 2 times the traffic: P99 is",
            "7 must be ready before the spike; without it, 4 would be enough",
        ),
        is_long=True,
    ),
    Question(
        asked="Why is my queue time several times the inference?",
        row="Why is my queue so long?",
        help_of="explain",
        help_says="capacity explain http://127.0.0.1:8000/v2/models/resnet/stats",
        words=(
            "4 times its inference",
            "By Little's law",
            "requests waiting",
            "More replicas shorten the queue",
        ),
    ),
    Question(
        asked="Is this load test valid?",
        row="Is this load test valid?",
        help_of="",
        help_says="audit Whether a load test can be believed",
        words=("Not to be believed as it stands", "coordinated-omission", "Send by a schedule"),
        code=4,
    ),
    Question(
        asked="Is the P99 of my Prometheus histogram usable?",
        row="Is the P99 of my Prometheus histogram usable?",
        help_of="",
        help_says="audit Whether a load test can be believed",
        words=(
            "To be read with care: resolution",
            "P99 lies between 1 s and 2.5 s",
            "Add bounds near your objective",
        ),
        code=4,
    ),
    Question(
        asked="Where does it collapse, and does it come back with retries?",
        row="Where does it collapse, and does it come back?",
        help_of="",
        help_says="stress Does a fleet come back by itself",
        words=("0 of 20 runs recover", "the smallest fleet that recovers as it is", "--retry-budget 0.1"),
        code=3,
        is_long=True,
    ),
    Question(
        asked="A language model: how many engines for 20 rps, TTFT and TPOT, and which --max-num-seqs?",
        row="How many engines for my language model, and which `--max-num-seqs`?",
        help_of="plan",
        help_says="(vLLM: --max-num-seqs); repeat to choose",
        words=("3 replicas of", "with up to 256 sequences", "Instead: up to 64 sequences take 3"),
        is_long=True,
    ),
    Question(
        asked="What does a longer context cost me?",
        row="What does a longer context cost me?",
        help_of="plan",
        help_says="--context-tokens-max N",
        words=("From --context-tokens-max 2048 to 8192 the fleet grows from 1 to 2 replicas",),
        is_long=True,
    ),
    Question(
        asked="A chat or an agent: what do caches of prefixes save, and what if they are lost?",
        row="What does caching save me, and what if it is lost?",
        help_of="plan",
        help_says="Sessions whose turns repeat what came before",
        words=(
            "3 replicas of",
            "behind session routing",
            "Prefix hits 82.05",
            "One fewer is not enough: from empty caches and a backlog it serves 10.5 of 12 turns/s",
            "Random routing (Kubernetes Service) takes 3 too",
        ),
        is_long=True,
    ),
    Question(
        asked="What does a tighter P99 cost me?",
        row="What does a tighter P99 cost me?",
        help_of="plan",
        help_says="A limit, a rate or a number may be a list (20ms,40ms) or a range",
        words=("From P99 <= 45 ms to 15 ms the fleet grows from 4 to 5 replicas", "(+25 %)"),
        is_long=True,
    ),
)


def one_line(text):
    return " ".join(text.split())


def cases():
    """Each row of README's table, those that take long with the mark that says so."""
    of_row = {question.row: question for question in QUESTIONS}
    long = {"How do I show it to others?"} | {question.row for question in QUESTIONS if question.is_long}
    return [
        pytest.param(
            of_row.get(row), command, marks=[pytest.mark.long] if row in long else [], id=row[:40].strip()
        )
        for row, command in ROWS.items()
    ]


_PLAN = "capacity plan --profile resnet50-t4-fp16 --slo-p99 40ms"
# Questions that add sentences to an answer.
OTHERS = (
    f"{_PLAN} --rate 3200rps",
    f"{_PLAN} --rate 3200rps --arrivals gamma:cv=2",
    f"{_PLAN} --rate 3200rps --arrivals mmpp:ratio=5,burst=10s,calm=60s",
    f"{_PLAN} --daily docs/examples/day.csv",
    f"{_PLAN} --daily docs/examples/day.csv --batch-wait 0ms",
    f"{_PLAN} --rate 3200rps --routing any",
    f"{_PLAN} --rate 3200rps --batch-wait 5ms",  # whose fleets all wait, also those of one fewer
    "capacity plan --profile llama-3.1-8b-rtx-pro-6000-bf16 --rate 20rps --lengths azure-conversation-2023 "
    "--slo-ttft-p99 2s --slo-tpot-p99 60ms --hourly-usd 1.5",
    f"{_PLAN} --users 200 --think-time 300ms",
    f"{_PLAN} --rate 3200rps --survive n-1",
    f"{_PLAN} --rate 3200rps --spike 1.4x --startup-time 20s",
    f"{_PLAN} --rate 3200rps --profile resnet50-v100-fp16 --profile resnet50-a100-fp16",
    f"{_PLAN} --rate 3200rps --profile resnet50-v100-fp16 --profile resnet50-a100-fp16 --survive zone:3 "
    "--rolling-update max-unavailable=25%",
    "capacity plan --profile llama-3.1-8b-rtx-pro-6000-bf16 --rate 20rps --lengths azure-conversation-2023 "
    "--slo-ttft-p99 2s --slo-tpot-p99 60ms --sequences-max 64 --sequences-max 256 --hourly-usd 1.5",
)


def line_limit(command):
    """Lines of an answer at 80 columns, or None where the verb has no limit."""
    if (
        not command.startswith(
            tuple(f"capacity {verb}" for verb in ("plan", "max-rate", "stress", "autoscale"))
        )
        or "render" in command
    ):
        return None
    has_failures = any(word in command for word in ("--survive", "--spike", "stress", "autoscale"))
    has_choices = any(command.count(flag) > 1 for flag in ("--profile", "--sequences-max"))
    return 12 if has_failures or has_choices else 10


@pytest.mark.parametrize(("question", "command"), cases())
def test_each_row_of_the_readme_is_answered_by_its_command(question, command):
    """At 80 columns a plan takes ten lines, or twelve where failures, a spike or several choices are asked about."""
    done = answered(command)
    assert done.returncode in (0, 3, 4), done.stderr
    lines = done.stdout.splitlines()
    assert lines or " report " in command  # which writes a page
    limit = line_limit(command)
    if limit is not None:
        assert len(lines) <= limit, done.stdout
        assert max(map(len, lines)) <= 80
    if question is not None:
        assert done.returncode == question.code, done.stdout + done.stderr
        for words in question.words:
            assert words in one_line(done.stdout), done.stdout


@pytest.mark.parametrize("command", OTHERS, ids=lambda command: command.removeprefix(_PLAN))
def test_other_questions_are_answered_in_as_few_lines(command):
    done = answered(command)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= line_limit(command), done.stdout
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith("More: -v (")
    for words in (" replicas of ", "One fewer is not enough", "Headroom"):
        assert words in done.stdout or "--users" in command


def test_there_are_nineteen_questions_and_more_rows():
    assert len(QUESTIONS) == 19
    assert len({question.row for question in QUESTIONS}) == 19
    assert len(ROWS) >= 20


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.asked[:40])
def test_readme_and_help_lead_to_the_command(question, tmp_path):
    """The row names the command, the command names the verb, and the verb's help says what it is for."""
    verb = shlex.split(ROWS[question.row].split(" && ")[-1])[1]
    words = [question.help_of] if question.help_of else []
    shown = in_process.capacity(tmp_path, *words, "--help", environment={"TERMINAL_WIDTH": "80"})
    assert question.help_says in one_line(shown.stdout)
    assert question.help_of in ("", verb)
    assert question.help_of or question.help_says.startswith(f"{verb} ")


def test_a_queue_of_half_the_inference_is_called_short(tmp_path):
    """The bundled metrics wait four times the inference; of a reading that waits half of it the answer is another."""
    saved = (ROOT / "docs/examples/triton-statistics.json").read_text(encoding="utf-8")
    (tmp_path / "statistics.json").write_text(saved, encoding="utf-8")
    shown = one_line(in_process.capacity(tmp_path, "explain", "statistics.json").stdout)
    assert "0.5 times its inference" in shown
    assert "The queue is short" in shown
    assert "More replicas" not in shown
