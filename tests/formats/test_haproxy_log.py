"""Logs of HAProxy with `option httplog`, written here by its format; nothing is a file of its own."""

import pytest
from reading import load_test

from capacity.formats.registry import Kind

PREFIX = "Feb  6 12:14:14 lb1 haproxy[14389]: "


def line(
    at: str, timers: str, status: int = 200, state: str = "----", backend: str = "be/s1", prefix: str = PREFIX
) -> str:
    return (
        f"{prefix}192.0.2.7:33317 [06/Feb/2026:12:14:{at}] fe~ {backend} {timers} {status} 2750 - - {state} "
        '1/1/1/1/0 0/0 "POST /predict HTTP/1.1"\n'
    )


LOG = (
    line("14.100", "0/5/1/40/46")
    + line("14.050", "0/0/1/150/151")
    + line("15.000", "0/0/1/8/9", 503)
    + line("15.100", "0/-1/-1/-1/30", -1, "CR--", "be/<NOSRV>")
)
OTHERS = f"{PREFIX}Proxy be started.\n{LOG}{PREFIX}Server be/s1 is DOWN, reason: Layer4 timeout.\n\n"
CAPTURES = line("14.100", "0/5/1/40/46").replace("0/0 ", '0/0 {a "b"|} {text/html} ') + line(
    "16.000", "1/2/3/4/10"
)
IPV6 = line("14.100", "0/5/1/40/46", prefix="").replace("192.0.2.7", "2001:db8::7") + line(
    "14.900", "0/0/0/9/9", prefix=""
)
# What the same log has beside requests: a failed handshake, and another frontend with `option tcplog`.
BESIDE = "".join(
    f"{PREFIX}192.0.2.7:40112 [06/Feb/2026:12:14:15.655] {rest}\n"
    for rest in ("f/1: SSL handshake failure", "t b/s1 0/1/5007 212 SD 3/1/1/1/0 0/0")
)
TLS = LOG.replace('"\n', '" 0/0000000000000000/0/0/0 example.org/TLSv1.3/TLS_AES_256_GCM_SHA384\n')
TWO = LOG + line("17.000", "0/0/0/5/5", backend="other/s9")
EXAMPLES = {"log": LOG, "others": OTHERS, "captures": CAPTURES, "ipv6": IPV6, "two": TWO}


def test_backends_are_runs_and_other_lines_are_passed_over() -> None:
    assert [run.name for run in load_test(TWO).runs] == ["be", "other", "all requests"]
    test = load_test(OTHERS)
    assert (test.runs[0].requests, test.notes) == (4, ("2 lines are not of a request, and were passed over",))
    assert load_test(LOG).notes == ()
    beside = load_test(LOG + BESIDE)
    assert (beside.runs[0].requests, beside.notes) == (4, test.notes)
    assert load_test(TLS).runs[0].quantiles_s == load_test(LOG).runs[0].quantiles_s


def test_what_haproxy_answers_itself_is_of_no_backend() -> None:
    """It has the frontend's name in its place; a backend without a server that is up keeps its requests."""
    itself = line("16.000", "-1/-1/-1/-1/0", 400, "PR--", "fe/<NOSRV>")
    found = load_test(TWO + itself + line("17.500", "0/-1/-1/-1/0", 503, "SC--", "other/<NOSRV>")).runs
    assert [(run.name, run.requests) for run in found] == [("be", 4), ("other", 2), ("all requests", 7)]


@pytest.mark.parametrize(("status", "state", "good"), [
    (200, "----", 1), (404, "----", 1), (302, "LR--", 1), (500, "----", 0), (200, "CD--", 0), (200, "SD--", 0),
    (0, "PR--", 0), (-1, "CR--", 0), (200, "cD--", 0), (200, "sD--", 0),
])  # fmt: skip
def test_what_ended_as_it_should_is_good(status: int, state: str, good: int) -> None:
    (run,) = load_test(line("14.1".ljust(6, "0"), "0/0/0/5/5", status, state) * 2).runs
    assert run.succeeded == 2 * good


REFUSED = [
    (text, said, Kind.LOAD_TEST, Kind.WORKLOAD)
    for text, said in [
        (LOG + line("18.000", "0/0/0/+5/+9"), "line 5 is not of option httplog, or was cut off"),
        (LOG + line("18.000", "0/0/0/5/+9"), "line 5 has the time +9, which is not the whole one"),
        (LOG + line("18.000", "0/0/0/5/5")[:-30] + "\n", "line 5 is not of option httplog, or was cut off"),
        (LOG + line("18.000", "0/0/0/5/5").replace("Feb/", "Fex/"), "line 5: Fex is no month"),
        (LOG + line("18.000", "0/0/0/5/5").replace("06/Feb", "31/Feb"), "line 5: 2026-02-31"),
    ]
]


def test_a_line_that_haproxy_has_cut_is_read() -> None:
    long = line("14.100", "0/5/1/40/46").replace("/predict", "/" + "p" * 1100)[:1023] + "\n"
    assert load_test(long * 2).runs[0].succeeded == 2
