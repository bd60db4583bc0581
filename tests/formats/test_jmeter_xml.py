"""XML results of JMeter, written here by the attributes of its manual; nothing is a file of JMeter's own."""

import pytest
from reading import example, load_test, refusal, workload

TEXT = example("jmeter_xml.xml")
EXAMPLES = {"xml": TEXT.encode()}
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testResults><sample lb="&b;"/></testResults>'


def test_samples_by_label_without_their_parts_and_the_transaction() -> None:
    found = load_test(TEXT)
    assert [run.name for run in found.runs] == ["buy", "pay", "all requests"]
    run = found.runs[-1]
    assert (found.whole, run.succeeded, run.failed, run.users) == ("all requests", 2, 1, 3)
    assert run.samples.sent_s.tolist() == [0.0, 0.5]
    assert run.samples.response_s.tolist() == [0.12, 0.04]


def test_each_start_is_an_arrival() -> None:
    assert workload(TEXT).instants_s == (0.0, 0.5, 1.0)


def test_no_entity_is_ever_expanded() -> None:
    assert "declares a document type, which JMeter never writes" in refusal(BOMB)
    assert "declares a document type" in refusal(
        '<!DOCTYPE testResults SYSTEM "file:///etc/hostname">' + TEXT.partition("\n")[2]
    )
    assert "not valid XML (undefined entity" in refusal("<testResults>&x;</testResults>")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</testResults>", "", "not valid XML (no element found"),
        (' t="120"', "", "line 3 has no attribute t, which is needed"),
        (' t="120"', ' t="fast"', "line 3 attribute t must be a number, got 'fast'"),
        (' t="120"', ' t="-1"', "line 3 has a duration below 0"),
        (' s="true"', ' s="1"', "line 3 attribute s must be true or false"),
        (' ts="1700000000000"', ' ts="1e40"', "line 3 attribute ts is too large for a time"),
        ("<java", "<a>" * 200 + "<java", "nested too deeply"),
    ],
)
def test_what_cannot_be_is_refused(old: str, new: str, said: str) -> None:
    assert said in refusal(TEXT.replace(old, new, 1))


def test_no_samples_are_refused() -> None:
    assert "there are no requests" in refusal("<testResults/>")


def test_what_is_not_there_is_not_told() -> None:
    """Neither threads nor a label; and text before the first element is no XML."""
    bare = '<testResults><sample t="7" ts="1700000000000" s="true"/><sample t="9" ts="1700000000001" s="true"/></testResults>'
    (run,) = load_test(bare).runs
    assert (run.users, run.succeeded, run.max_s) == (None, 2, 0.009)
    assert "of none of the" in refusal("x" + bare)
    assert "of none of the" in refusal("<sample/>")


def test_a_hundred_elements_may_be_nested() -> None:
    """Within the results, of which each is one more."""
    sample = '<sample t="7" ts="1700000000000" s="true"/>'
    for depth, is_allowed in ((100, True), (101, False)):
        text = f"<testResults>{sample}{'<a>' * depth}{'</a>' * depth}</testResults>"
        if is_allowed:
            assert load_test(text).runs[0].succeeded == 1
        else:
            assert "line 1 is nested too deeply" in refusal(text)


def test_samples_inside_other_elements_are_ignored() -> None:
    sample = '<sample t="7" ts="1700000000000" s="true"/>'
    text = f"<testResults><view>{sample}</view>{sample}<a>{sample}</a></testResults>"
    assert load_test(text).runs[0].succeeded == 1
