"""The result of siege as JSON and as text, written here in its shape; nothing is a file of its own."""

import pytest
from reading import example, load_test, refusal

from capacity.evidence.audit import check_run
from capacity.evidence.finding import Belief

RESULT = example("siege_result.txt")
BANNER = """\

** SIEGE 4.1.6
** Preparing 5 concurrent users for battle.
The server is now under siege...
[error] socket: {timed out} 1
Lifting the server siege...
"""
TEXT = example("siege.txt")
REQUESTS = "\x1b[0;34mHTTP/1.1 200     0.01 secs:      11 bytes ==> GET  /predict\x1b[0m\n" * 3
EXAMPLES = {
    "result": RESULT,
    "with its banner": (BANNER + RESULT),
    "text": TEXT,
    "text with requests": (BANNER + REQUESTS + TEXT),
    "one user": BANNER.replace("5 concurrent users", "1 concurrent user") + RESULT,
}


def test_the_mean_is_that_of_the_concurrency() -> None:
    """4.9 in flight over 10 s are 49 s of 2000 requests: 24.5 ms, which is written as 0.02."""
    assert load_test(RESULT).runs[0].mean_s == pytest.approx(0.0245)
    changed = RESULT.replace('0.02,\n\t"transaction_rate', '0.05,\n\t"transaction_rate')
    assert "give a mean response of 0.0245 s, and response_time is 0.05 s" in refusal(changed)


@pytest.mark.parametrize("text", [RESULT, TEXT])
def test_users_are_those_that_siege_prepared(text: str) -> None:
    """4.9 of 5 users wait for an answer at any time, so Little's law holds of them."""
    assert load_test(text).runs[0].users is None
    (run,) = load_test(BANNER + text).runs
    assert run.users == 5.0
    (one,) = [one for one in check_run(run) if one.check == "littles-law"]
    assert one.belief is Belief.HOLDS
    assert load_test(BANNER.replace("5 concurrent users", "1 concurrent user") + text).runs[0].users == 1.0
    assert "has several runs of siege" in refusal(BANNER + text + BANNER.replace("5 conc", "9 conc") + text)


@pytest.mark.parametrize("cut", [30, 200, len(RESULT) - 3])
def test_a_result_that_was_cut_off_is_refused(cut: int) -> None:
    assert refusal(RESULT[:cut])
    assert refusal(BANNER + RESULT[:cut])
    assert "ends before Shortest transaction" in refusal(BANNER + TEXT[: cut * 2 // 3] + "\n")
    assert "of siege without its beginning" in refusal(RESULT[1:])
    assert refusal(BANNER + RESULT[1:])


def test_a_run_without_transactions_is_refused() -> None:
    assert "has no transactions" in refusal(RESULT.replace("2000", "0"))
