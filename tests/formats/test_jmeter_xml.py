"""XML results of JMeter, written here by the attributes of its manual; nothing is a file of JMeter's own."""

from reading import example, load_test, refusal

TEXT = example("jmeter_xml.xml")
EXAMPLES = {"xml": TEXT}
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testResults><sample lb="&b;"/></testResults>'


REFUSED = [
    (TEXT.replace(old, new, 1), said)
    for old, new, said in [
        ("</testResults>", "", "not valid XML (no element found"),
        (' t="120"', "", "line 3 has no attribute t, which is needed"),
        (' t="120"', ' t="fast"', "line 3 attribute t must be a number, got 'fast'"),
        (' t="120"', ' t="-1"', "line 3 has a duration below 0"),
        (' s="true"', ' s="1"', "line 3 attribute s must be true or false"),
        (' ts="1700000000000"', ' ts="1e40"', "line 3 attribute ts is too large for a time"),
        ("<java", "<a>" * 200 + "<java", "nested too deeply"),
    ]
]
REFUSED += [
    (BOMB, "declares a document type, which JMeter never writes"),
    (
        '<!DOCTYPE testResults SYSTEM "file:///etc/hostname">' + TEXT.partition("\n")[2],
        "declares a document type",
    ),
    ("<testResults>&x;</testResults>", "not valid XML (undefined entity"),
    ("<testResults/>", "there are no requests"),
]


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
