"""Flags that would change nothing: which are refused, and which are not."""

import pytest
from stresses import fleet_in_trouble

from capacity.errors import InputError
from capacity.question.plan import Routing
from capacity.recovery.effect import Effects, given_flags, require_effect
from capacity.recovery.parse import read_trigger
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.traffic.clients import Clients, Failure

TRIES = Clients(timeout_s=1.0, attempts=3)
WAITS = Clients(attempts=3)


def require(
    flags: str,
    trigger: str = "spike:2x,30s",
    clients: Clients = TRIES,
    protection: Protection = Protection(),  # noqa: B008  (has no state)
    routing: Routing = Routing.ROUND_ROBIN,
    *,
    limits_queue: bool = False,
    breaks_down: bool = False,
) -> None:
    require_effect(
        Effects(
            flags=frozenset(flags.split()),
            trigger=read_trigger(trigger),
            clients=clients,
            protection=protection,
            routings=(routing,),
            limits_queue=limits_queue,
            breaks_down=breaks_down,
        )
    )


TRIGGERS = (
    "spike:2x,30s", "lose:1,60s", "crash:1,30s", "hang:1,60s", "spot:1,5s,60s", "pause:500ms,10/min", "straggler:3x,60s", "rollout",
)  # fmt: skip


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_was_not_given_is_not_refused(trigger: str) -> None:
    require("", trigger)
    require("attempts", trigger)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_only_a_crash_or_a_hang_is_to_be_detected(trigger: str) -> None:
    if trigger.startswith(("crash", "hang")):
        require("detection", trigger)
        with pytest.raises(InputError, match="take another --routing"):
            require("detection", trigger, routing=Routing.SHARED_QUEUE)
    else:
        with pytest.raises(InputError, match="leave it out, or give --trigger crash:1,60s"):
            require("detection", trigger)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_only_a_replica_that_was_away_starts(trigger: str) -> None:
    if trigger.startswith(("crash", "hang", "lose", "spot", "rollout")):
        require("startup_time", trigger)
    else:
        with pytest.raises(InputError, match="leave it out, or give --trigger lose:1,60s"):
            require("startup_time", trigger)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_only_who_comes_back_has_a_cold_cache(trigger: str) -> None:
    require("cold_batches", trigger, breaks_down=True)
    if trigger.startswith(("crash", "hang", "lose", "spot", "rollout")):
        require("cold_batches", trigger)
    else:
        with pytest.raises(InputError, match="leave it out, or give --trigger lose:1,60s"):
            require("cold_batches", trigger)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_only_who_comes_back_starts_slowly(trigger: str) -> None:
    require("slow_start", trigger, breaks_down=True)
    if trigger.startswith(("crash", "hang", "lose", "spot", "rollout")):
        require("slow_start", trigger)
    else:
        with pytest.raises(InputError, match="leave it out, or give --trigger lose:1,60s"):
            require("slow_start", trigger)


def test_who_comes_back_with_all_others_does_not_start_slowly() -> None:
    require("slow_start", "restart:1,20s")
    with pytest.raises(InputError, match="there is no other.*give --trigger restart:1,20s"):
        require("slow_start", "restart:all,20s")
    require("slow_start", "restart:all,20s", breaks_down=True)


def test_breakdowns_are_to_be_detected() -> None:
    require("detection", breaks_down=True)
    require("attempts", clients=WAITS, breaks_down=True)


@pytest.mark.parametrize("flag", ["backoff", "retry_budget", "retry_on"])
def test_one_attempt_has_no_retries(flag: str) -> None:
    require(flag)
    with pytest.raises(InputError, match=f"--{flag.replace('_', '-')} is for retries.* give --attempts 3"):
        require(flag, clients=Clients(timeout_s=1.0))


def test_no_attempt_is_made_at_the_deadline() -> None:
    ends_alike = Clients(timeout_s=1.0, deadline_s=1.0, attempts=3)
    with pytest.raises(InputError, match="--retry-on timed_out needs a --timeout"):
        require("retry_on", clients=ends_alike)
    with pytest.raises(InputError, match="--attempts 3 changes nothing"):
        require("attempts", clients=ends_alike)
    rejected = Clients(attempts=3, retried=frozenset({Failure.REJECTED}))
    require("retry_on", clients=rejected)


def test_attempts_of_clients_that_wait_for_ever() -> None:
    with pytest.raises(InputError, match="--attempts 3 changes nothing.*give a --timeout"):
        require("attempts", clients=WAITS)
    with pytest.raises(InputError, match="--client changes nothing.*give a --timeout"):
        require("client attempts", clients=WAITS)
    require("attempts", clients=Clients())
    require("attempts", clients=WAITS, limits_queue=True)
    require("attempts", clients=WAITS, protection=Protection(shedding=Shedding.CODEL))
    require("attempts", "crash:1,60s", clients=WAITS)
    require("attempts", clients=Clients(attempts=2, hedge_s=0.1))


def test_a_timeout_is_no_failure_to_who_retries_rejections_alone() -> None:
    rejected = Clients(timeout_s=1.0, attempts=3, retried=frozenset({Failure.REJECTED}))
    with pytest.raises(InputError, match="--client changes nothing.*give a --queue-limit"):
        require("client", clients=rejected)
    require("client", clients=rejected, limits_queue=True)
    require("client", "lose:1,60s", clients=rejected)


def test_a_hedge_comes_before_clients_give_up() -> None:
    require("hedge", clients=Clients(timeout_s=1.0, attempts=2, hedge_s=0.9))
    for clients in (
        Clients(timeout_s=1.0, attempts=2, hedge_s=1.0),
        Clients(deadline_s=1.0, attempts=2, hedge_s=1.5),
    ):
        with pytest.raises(InputError, match="give a shorter one"):
            require("hedge", clients=clients)


def test_nobody_is_abandoned_whose_client_waits_for_ever() -> None:
    for abandoned in (Abandoned.DROPPED, Abandoned.STOPPED):
        protection = Protection(abandoned=abandoned)
        require("abandoned", protection=protection)
        require("abandoned", clients=Clients(attempts=2, hedge_s=0.1), protection=protection)
        with pytest.raises(InputError, match="give --timeout or --deadline"):
            require("abandoned", clients=Clients(), protection=protection)


def test_a_margin_leaves_some_time_to_wait() -> None:
    require("shed", protection=Protection(shedding=Shedding.LATE, late_margin_s=1.0))
    with pytest.raises(InputError, match="such as late:500ms"):
        require("shed", protection=Protection(shedding=Shedding.LATE, late_margin_s=1.5))


def test_a_margin_that_turns_everybody_away_is_no_remedy() -> None:
    from capacity.search.stress import remedies

    settings = [name for name, _ in remedies(fleet_in_trouble(clients=Clients(timeout_s=0.01)))]
    assert not any(name.startswith("--shed late") for name in settings)


def test_which_flags_were_given() -> None:
    given = {"detection": None, "detection_s": 3.0, "attempts": 2, "client": None}
    assert given_flags(given, ("detection", "attempts", "client")) == {"detection", "attempts"}
