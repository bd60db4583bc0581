"""hey's text, as hey 0.1.4 printed it for forty requests by two workers, and against a port where nobody listens."""

import pytest
from reading import example, load_test, refusal

TEXT = example("hey_text.txt")
NO_ANSWERS = example("hey_text_nobody.txt")
EXAMPLES = {"text": TEXT, "nobody": NO_ANSWERS}


def test_quantiles_fit_the_histogram() -> None:
    (run,) = load_test(TEXT).runs
    assert run.histogram.total == run.requests
    for q, told in run.quantiles_s.items():
        bucket = run.histogram.quantile(q)
        assert bucket.low <= told.high
        assert told.low <= bucket.high


def test_fast_responses_have_several_buckets_at_one_printed_bound() -> None:
    text = TEXT.replace("0.1240", "0.0056")
    for bound in ("0.017", "0.029", "0.041", "0.053", "0.065"):
        text = text.replace(f"  {bound} [", "  0.005 [")
    for bound in ("0.076", "0.088", "0.100", "0.112", "0.124"):
        text = text.replace(f"  {bound} [", "  0.006 [")
    assert load_test(text).runs[0].histogram.total == 40


REFUSED = [
    (TEXT.replace(old, new), said)
    for old, new, said in [
        ("  Average:	0.0523 secs\n", "", "has no Average, which hey prints; was the text cut off?"),
        ("0.0523 secs", "soon secs", "line 6 must be a number, got 'soon'"),
        ("50% in 0.0517", "50% in -0.0517", "no response takes less than 0 s"),
        ("50% in", "500% in", "quantiles are from 0 to 1"),
        ("  0.076 [2]", "  0.176 [2]", "line 19: the histogram does not rise in equal steps"),
    ]
]


def test_equal_responses_have_no_histogram() -> None:
    """Nor has a single bucket, which has no width."""
    alike = load_test(TEXT.replace("0.1240", "0.0052")).runs[0]
    assert alike.histogram is None
    assert alike.max_s == 0.0052
    assert load_test(TEXT.replace("0.1240", "0.0051")).runs[0].histogram is None
    head, _, rest = TEXT.partition("  0.005 [1]")
    for rows, count in (("  0.124 [40]\t|\n", None), ("  0.005 [30]\t|\n  0.124 [10]\t|\n", 40)):
        found = load_test(f"{head}{rows}\n\n{rest[rest.index('Latency') :]}").runs[0].histogram
        assert (found and found.total) == count


@pytest.mark.parametrize("at", ["Status code", "  [503]", "Latency distribution", "  Total data"])
def test_a_text_that_was_cut_in_half_is_refused(at: str) -> None:
    """Its rate is at its beginning, and its requests are counted at its end: 38 rps of 0 requests were taken."""
    assert "Requests/sec is of 40; was the text cut off?" in refusal(TEXT[: TEXT.index(at)])
