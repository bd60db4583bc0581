"""What servers tell of their batching beside what a plan has."""

import pytest

from capacity.measurement.http import parse_address
from capacity.measurement.scrape import read_page
from capacity.plan import Plan
from capacity.verification.watch import batching_notes

PLAN = Plan(profile="mlp", replicas=3, batch_size_max=8, batch_wait_max_s=0.0037287)
AS_PLANNED = "serve_batch_size_max 8.0\nserve_batch_wait_max_seconds 0.003729\n"


def notes(*pages: str) -> tuple[str, ...]:
    addresses = [parse_address(f"http://10.0.0.{n}:80{n}/metrics", "--url") for n in range(len(pages))]
    return batching_notes(addresses, [read_page(page) for page in pages], PLAN)


@pytest.mark.parametrize(
    "page",
    [
        AS_PLANNED,
        "other 1\n",
        "serve_batch_size_max 8.0\n",
        "serve_batch_wait_max_seconds 0.0037\n",
        "serve_batch_size_max NaN\nserve_batch_wait_max_seconds -1\n",
        "serve_batch_size_max +Inf\n",
    ],
)
def test_servers_as_planned_and_servers_that_do_not_tell_need_no_note(page: str) -> None:
    assert notes(page) == ()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("serve_batch_size_max 32.0\n", "batches up to 32 that wait up to 3.73 ms"),
        ("serve_batch_wait_max_seconds 0.0\n", "batches up to 8 that wait up to 0 s"),
        ("serve_batch_wait_max_seconds 0.0039\n", "batches up to 8 that wait up to 3.9 ms"),
    ],
)
def test_another_size_or_wait_is_told_with_both_and_the_mend(page: str, said: str) -> None:
    (note,) = notes(page)
    assert note.startswith(
        f"10.0.0.0:800 says that it makes {said}, and the plan has batches up to 8 that wait up"
    )
    assert "start it as planned, or verify it as it is, by --profile, --rate, --batch-size-max" in note


def test_a_wait_is_told_as_the_flag_takes_it() -> None:
    (note,) = notes("serve_batch_size_max 32.0\nserve_batch_wait_max_seconds 0.005\n")
    assert note.endswith("--batch-size-max 32, --batch-wait 5ms and what else the plan has")


def test_of_several_servers_the_first_that_differs_is_named() -> None:
    (note,) = notes(AS_PLANNED, AS_PLANNED + "x 1\n", AS_PLANNED.replace("8.0", "4.0"))
    assert note.startswith("1 of 3 servers, 10.0.0.2:802 first, says that it makes batches up to 4 ")
