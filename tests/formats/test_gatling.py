"""Gatling's log, written for this test in the shape of version 3.11."""

from reading import load_test, refusal

LINES = [
    "RUN\tcheckout.Buy\tbuy\t1795860000000\t \t3.11.5", "USER\tbuyers\tSTART\t1795860000100",
    "REQUEST\t\tsearch\t1795860000100\t1795860000140\tOK\t ",
    "REQUEST\tcart,pay\tbuy\t1795860000150\t1795860000350\tKO\tstatus.find.is(200), found 503",
    "REQUEST\t\tsearch\t1795860000200\t1795860000260\tOK\t ", "USER\tbuyers\tEND\t1795860000400",
]  # fmt: skip
TEXT = "\n".join(LINES) + "\n"
EXAMPLES = {"text": TEXT}


REFUSED = [
    (TEXT.replace(old, new), said)
    for old, new, said in [
        ("\tOK\t ", "\tFINE\t ", "line 3: 'FINE' is neither OK nor KO"),
        ("1795860000140", "soon", "line 3: end must be a number, got 'soon'"),
        ("1795860000140", "1795860000000", "line 3: a request that ends before it starts"),
        ("\t1795860000350\tKO\tstatus.find.is(200), found 503", "", "line 4: 4 fields are too few"),
    ]
]


def test_a_log_begins_with_a_run_of_four_fields() -> None:
    assert "of none of the" in refusal("RUN\ta\tb\nREQUEST\t\tsearch\t1\t2\tOK\t\n")
    short = "RUN\ta\tb\tc\nREQUEST\t\tsearch\t1795860000100\t1795860000100\tOK\n"
    (run,) = load_test(short).runs
    assert (run.succeeded, run.mean_s) == (1, 0.0)
    long = "x" * 61
    assert f"'{'x' * 60}' is neither OK nor KO" in refusal(short[:-3] + long + "\n")
