"""Planted bugs: plants one bug at a time in a copy of the repository and runs the one test that catches it.

    python benchmarks/planted_bugs.py [word ...]     # only the bugs whose name holds a word

A bug is found by the name of its function, wherever that stands, and its test by the names of file and test.
The working tree is never touched. Exits with 1 if a bug survives, and with 2 if the tests fail without one,
or a bug finds no function, text or test of its own.
"""

import argparse
import ast
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("capacity", "simulations")
AT_ONCE = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
# Plugins that pytest finds by itself take longer to import than most of these tests to run.
PLUGINS = "xdist.plugin,pytest_timeout,_hypothesis_pytestplugin"
ENVIRONMENT = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": PLUGINS}
# Examples that are the same in every run: a bug that survives here survives wherever this runs, and no other.
SAME_EXAMPLES = "--hypothesis-profile=ci"
MACHINE_CODE = "machine-code"  # a folder beside the copies
TIMEOUT_S = 120.0  # notices a bug that hangs
ALL_TIMEOUT_S = 600.0  # all tests without a bug


class Bug(NamedTuple):
    """A bug: in the function, class or constant `place`, the text `old` becomes `new`, and `test` should fail."""

    name: str
    place: str
    old: str
    new: str
    test: str


# A table: what the bug does, where, the old and the new text, the test that catches it.
# fmt: off
BUGS = (
    # profiles from records and from loads
    Bug("steps of a warm-up stay in a profile", "llm_steps._warm", "begin = int(places[start + _WINDOW])", "begin = 0",
        "test_llm_steps.py::test_a_warm_up_is_found_left_out_and_said"),
    Bug("tokens that are held back are one step", "llm_sweeps._steps_within", "seconds / interval, interval",
        "seconds, 1", "test_streams_of_drafts.py::test_tokens_that_are_held_back_are_steps_of_their_own"),
    Bug("the first event of a stream counts as a step", "Speculation.of_events", "events - len(output_tokens)",
        "events", "test_speculation.py::test_events_give_back_the_length_that_they_come_of"),
    Bug("drafts that were not made are accepted too", "Speculation.in_share", "min(1.0, share) * rate", "rate",
        "test_vllm_iterations.py::test_steps_without_drafts_bring_one_token"),
    Bug("the time of a host is in no step", "LlmProfile.table",
        "(self.overhead.step_s or 0.0) + drafting_s", "drafting_s",
        "test_host_time.py::test_a_host_makes_every_step_longer_by_the_same_time"),
    Bug("requests that are judged calibrate too", "host._chosen", "[part] = True", "[:] = True",
        "test_host_time.py::test_the_others_are_shown_and_have_no_part_in_it"),
    Bug("draws of calibrating loads are taken for certain", "fit_scattered", "2.0 * np.where", "0.0 * np.where",
        "test_calibration.py::test_figures_of_one_run_are_weighed_by_how_far_its_draws_scatter"),
    Bug("steps with prompts count what decodes beside them", "llm_steps._prompts",
        "np.where(columns.decode > 0, beside_s, 0.0)", "0.0",
        "test_llm_steps.py::test_forward_passes_give_the_steps_back_with_their_stairs"),
    Bug("a second try takes a connection that was closed as well", "http.reopening",
        "await exchange(fresh)", "await exchange(client)",
        "test_completions.py::test_a_new_connection_is_opened_where_all_that_were_kept_are_closed"),
    Bug("a fit follows no plane", "fit._further", "for share in (1.0, 0.5)", "for share in (0.0,)",
        "test_calibration.py::test_figures_that_jump_do_not_hold_a_fit_up"),
    Bug("errors of calibrated steps go their own ways", "_calibrated_otherwise",
        "drawn @ np.array(calibration.step_errors)",
        "0.05 * generator.standard_normal(len(profile.steps))",
        "test_calibration.py::test_a_profile_reads_back_and_its_steps_move_together"),
    # the reference simulator
    Bug("a request is lost", "Replica.serve",
        "clock.now, requests)", "clock.now, requests[:-1] or requests)",
        "test_invariants.py::test_conservation"),
    Bug("a batch starts before its requests arrive", "Replica.serve",
        "started_s = clock.now\n", "started_s = clock.now - 0.3\n", "test_invariants.py::test_causality"),
    Bug("the newest request is served first", "RequestQueue.take", "popleft()", "pop()",
        "test_invariants.py::test_fifo"),
    Bug("an idle replica starts late", "RequestQueue._call_replica",
        "call.at(self._clock.now, ", "call.at(self._clock.now + 0.1, ",
        "test_invariants.py::test_work_conservation"),
    Bug("users think while they wait for the answer", "reference.cluster.run",
        "batch.requests, batch.finished_s", "batch.requests, batch.started_s", "test_invariants.py::test_population"),
    Bug("arrivals come before completions", "Phase",
        "COMPLETION = 1\n    ARRIVAL = 2\n", "ARRIVAL = 1\n    COMPLETION = 2\n",
        "test_cluster.py::test_an_arrival_at_the_instant_of_a_completion_comes_too_late_for_its_dispatch"),
    Bug("work goes on at the new rate from the start", "Device._change",
        "self._work_off(job, before)", "self._work_off(job, after)",
        "test_devices.py::test_who_joins_halfway_slows_the_rest_and_is_alone_at_last"),
    # batching and routing
    Bug("a batch holds one more than its limit", "BatchRule.take",
        "self._plan.batch_size_max)", "self._plan.batch_size_max + 1)",
        "test_invariants.py::test_batch_limits"),
    Bug("the timer counts from the last arrival", "RequestQueue._oldest_s",
        "self._waiting[0]", "self._waiting[-1]",
        "test_cluster.py::test_the_timer_counts_from_the_arrival_of_the_oldest"),
    Bug("a wait from the pick-up is the oldest request's", "reference.batching.rule_for",
        "TORCHSERVE: OpenRule", "TORCHSERVE: BatchRule",
        "test_cluster.py::test_the_open_timer_starts_when_a_busy_replica_falls_idle"),
    Bug("somebody joins a batch that has closed", "CollectedRule.joins",
        " or last.closes_s < now_s", "",
        "test_batching_rules.py::test_what_waits_for_a_busy_replica"),
    Bug("a batch collected ahead closes late", "CollectedRule.joins",
        "closes_s=now_s + ", "closes_s=now_s + 2 * ",
        "test_batching_rules.py::test_what_an_idle_replica_waits_for"),
    Bug("a preferred size takes all that wait", "PreferredRule.take",
        "if one <= size)", "if one > size)",
        "test_batching_rules.py::test_the_largest_preferred_size_starts_and_leaves_the_rest"),
    Bug("a preferred size leaves some whose wait is over", "PreferredRule.take",
        "wait_s > 0.0 and", "wait_s < 0.0 and",
        "test_batching_rules.py::test_what_waits_for_a_busy_replica"),
    Bug("only the largest batch is full", "BatchPlan.due_size",
        "*self.preferred_sizes, ", "",
        "test_batching_rules.py::test_what_an_idle_replica_waits_for"),
    Bug("the load of batches collected ahead is that of full ones", "load_under",
        "is not Batching.RAY_SERVE", "is not None",
        "test_batching_rules.py::test_batches_that_close_too_early_are_refused_with_the_mend"),
    Bug("the service time is drawn for a batch of one", "Replica.serve",
        "service_times(len(requests), ", "service_times(1, ",
        "test_cluster.py::test_the_service_time_is_drawn_for_the_size_of_the_batch"),
    Bug("a free replica has room for one request", "RequestQueue._room", " * self._plan.batch_size_max", "",
        "test_cluster.py::test_an_idle_replica_has_room_for_a_batch_beside_the_queue"),
    Bug("power-of-two compares a replica with itself", "routing.power_of_two._two_different",
        "[*candidates[at + 1 :], *candidates[:at]]", "[*candidates[at + 1 :], *candidates[:at], first]",
        "test_cluster.py::test_power_of_two_compares_two_different_replicas"),
    Bug("the compiled second choice may be the first", "power_of_two.second_place",
        "uniform * (count - 1)", "uniform * count",
        "test_cluster.py::test_power_of_two_compares_two_different_replicas"),
    Bug("HAProxy's ties go by the index", "longest_unchanged", "load(one, 1), one.changed, ", "load(one, 1), ",
        "test_balancer_rules.py::test_one_after_another_all_get_their_turn_but_by_index"),
    Bug("HAProxy does not count a refused request", "serve_own",
        "if routing == LEAST_OUTSTANDING_HAPROXY:\n                count_more(routing, replica, 0",
        "if False:\n                count_more(routing, replica, 0",
        "test_kernel.py::test_agrees_with_simpy_where_instants_coincide"),
    Bug("who gets a smooth turn pays for one", "least_outstanding.smooth_turn_of_ranks",
        "marks[chosen] -= equal", "marks[chosen] -= 1.0",
        "test_kernel.py::test_agrees_with_simpy_on_a_large_fleet"),
    Bug("HAProxy draws two different servers", "routing.power_of_two.with_replacement",
        "(drawn(candidates, uniform) for uniform in uniforms[:2])",
        "_two_different(candidates, uniforms)",
        "test_balancer_rules.py::test_two_at_random"),
    # routers of conversations
    Bug("llm-d's gate opens when the others are ahead", "LlmDRouter._considered",
        "self._ahead(sticky) - self._ahead(others)", "self._ahead(others) - self._ahead(sticky)",
        "test_conversation_routers.py::test_llm_d_gives_way_when_the_gate_is_passed"),
    Bug("the newest content makes room", "Recent.sent", "next(iter(contents))", "content",
        "test_conversation_routers.py::test_the_oldest_contents_are_the_heads_of_prompts"),
    Bug("contents behind a lost head do not count", "Recent.matches", "if not any(held):", "if not all(held):",
        "test_conversation_routers.py::test_contents_behind_a_lost_head_count_where_another_replica_has_the_head"),
    Bug("a lost replica keeps its tokens in flight", "InFlight.left", "self.tokens[replica] = 0", "pass",
        "test_conversation_routers.py::test_llm_d_forgets_what_was_sent_to_a_lost_replica"),
    Bug("prompts are in flight until the answer", "LlmDRouter.first_token", "self._flying.end(request)", "pass",
        "test_sessions_in_trouble.py::test_a_prompt_that_begins_again_is_in_flight_until_its_first_token_and_not_after"),
    Bug("a prompt that begins again is not in flight", "kernel.recovery.engine._lose_or_keep",
        "if is_alive:", "if is_alive and not returns:",
        "test_sessions_in_trouble.py::test_a_prompt_that_begins_again_is_in_flight_until_its_first_token_and_not_after"),
    Bug("any request gives up the blocks that another uses", "DynamoRouter.done",
        "if not users[content]:", "if users[content] >= 0:",
        "test_conversation_routers.py::test_dynamo_gives_up_blocks_with_the_last_that_uses_them"),
    Bug("a session is hashed alike in every run", "session.session_hash", "(seed + ", "(0 * seed + ",
        "test_conversation_routers.py::test_runs_hash_sessions_differently"),
    Bug("HAProxy's ring gives a hash to the next point, however near the last one is", "RingRouter.choose",
        "behind <= ahead", "False", "test_deploy_rings.py::test_shares_are_those_of_hashes_spread_evenly"),
    Bug("a fleet on a ring saturates as one with equal shares does", "ring.even_replicas", "return 1.0 / max",
        "return plan.replicas or max", "test_deploy_rings.py::test_a_fleet_saturates_when_its_busiest_server_does"),
    Bug("a replay hashes sessions by chance", "RingRouter._spot", "if self._fleet.names:", "if False:",
        "test_deploy_rings.py::test_a_session_is_where_the_hash_of_its_name_is"),
    Bug("a session is never forgotten", "SessionCookieRouter.choose", "now_s - last_s <= self._forget_s", "True",
        "test_conversation_routers.py::test_a_cookie_follows_the_first_turn_until_it_is_forgotten"),
    Bug("a replica that never had a cold prompt comes last", "LlmDScoresRouter._rests",
        "[*fresh, *self._cold]", "[*self._cold, *fresh]",
        "test_conversation_routers.py::test_cold_prompts_go_round_by_rest"),
    Bug("the compiled index throws out its newest content", "_slot_for", "replica.oldest", "replica.newest",
        "test_routers_compiled.py::test_both_forms_choose_alike"),
    Bug("contents move together that are of another prompt", "_sent_recent",
        "!= _content_of_unit", "== -1 - _content_of_unit",
        "test_routers_compiled.py::test_a_prompt_moves_its_own_contents_to_the_end_of_the_line"),
    Bug("who is taken out of a table cuts off those behind", "tables.take_out", ") >= ((", ") < ((",
        "test_routers_compiled.py::test_the_table_is_a_dictionary"),
    Bug("the compiled Dynamo gives up no block", "dynamo.give_blocks", "-= blocks", "-= 0 * blocks",
        "test_routers_compiled.py::test_both_forms_choose_alike"),
    Bug("equal replicas are never the last", "conversations.beliefs.least", "equal += 1", "equal = 1",
        "test_routers_compiled.py::test_both_forms_choose_alike"),
    # what is scaled
    Bug("there may be no user at all", "Scale.whole", "max(self.step, ", "max(0.0, ",
        "test_max_rate.py::test_users_are_scaled_from_one_on"),
    Bug("a day is answered by its mean rate", "question.parse.workload_of_day",
        "day.peak_rate_rps", "day.mean_rate_rps",
        "test_scaled_commands.py::test_a_day_is_answered_by_its_highest_rate"),
    # the gate of a balancer
    Bug("who is held back goes to any replica with a place", "Gate._fill",
        "sorted(self._freed)", "range(len(self._replicas))",
        "test_places.py::test_both_engines_and_the_semantics_agree"),
    Bug("who arrives takes the places of those held back", "Gate.ended",
        "Phase.ARRIVAL, BEFORE_ARRIVALS", "Phase.ARRIVAL, 1",
        "test_places.py::test_both_engines_and_the_semantics_agree"),
    # the compiled kernel
    Bug("who had a turn has the next one too", "own_queues.next_in_turn", "(replica + 1) % replicas", "replica",
        "test_places.py::test_both_engines_and_the_semantics_agree"),
    Bug("the batch wait counts from the balancer", "state._came_when_noted", "request.came_s", "request.arrived_s",
        "test_places.py::test_the_wait_for_a_batch_counts_from_when_a_request_comes_to_the_replica"),
    Bug("a full replica always has full batches", "always_full_rps",
        "min(by_full_ones, places / slowest_s) if slowest_s > 0.0 else by_full_ones", "by_full_ones",
        "test_places.py::test_a_full_replica_serves_the_slowest_pair_or_better_whatever_came_first"),
    Bug("the kernel takes a batch that ended for one request", "serve_own",
        "-queue.in_service, ranks", "-1, ranks",
        "test_kernel.py::test_agrees_with_simpy_where_instants_coincide"),
    Bug("only one free replica of the kernel has room", "serve_shared",
        "limit + idle * size_max", "limit + min(idle, 1) * size_max",
        "test_cluster.py::test_without_waiting_places_only_an_idle_replica_serves"),
    Bug("the kernel dispatches an arrival at the instant of a completion", "serve_batches",
        "arrived_s[end] < start_s", "arrived_s[end] <= start_s",
        "test_kernel.py::test_agrees_with_simpy_where_batches_wait_in_one_queue"),
    Bug("the kernel lets somebody join a batch that has closed", "collect",
        " and first.started_s >= entry.arrived_s", "",
        "test_batching_rules.py::test_what_waits_for_a_busy_replica"),
    Bug("the kernel forgets that a wait is over", "fitting",
        "<= start_s", "<= -1.0",
        "test_batching_rules.py::test_what_waits_for_a_busy_replica"),
    Bug("no loop starts a full batch before its wait is over", "kernel.batching.due_s",
        "free_s if waiting >= due_size else over_s", "over_s",
        "test_kernel.py::test_agrees_with_simpy_where_instants_coincide"),
    Bug("the kernel takes the smallest preferred size", "sizes_of",
        "max((one", "min((one",
        "test_batching_rules.py::test_the_largest_preferred_size_starts_and_leaves_the_rest"),
    Bug("of equal replicas the last wins", "leftmost",
        "tree[node + 1] < tree[node]", "tree[node + 1] <= tree[node]",
        "test_tournament.py::test_a_tournament_knows_the_smallest_and_the_first_of_equals"),
    # speculative decoding
    Bug("a pass composed ahead forgets the drafts on their way", "VllmV1.compose", "max(0, request.drafted)", "0",
        "test_drafts.py::test_the_cache_has_room_for_what_may_be_accepted"),
    Bug("each draft of a request is accepted alike", "accepted_drafts", "tokens * PASS_STEP", "0 * PASS_STEP",
        "test_drafts.py::test_drafts_are_accepted_as_often_as_the_rates_say"),
    Bug("the last of a prompt is drafted after", "VllmV1._drafts", "request.drafted >= 0 and ", "",
        "test_drafts.py::test_the_last_tokens_of_a_prompt_are_not_drafted_after"),
    Bug("tokens that come together have a gap each", "tokens.token_sample", "int(events.sum())", "int(output.sum())",
        "test_token_samples.py::test_tokens_that_come_together_have_one_gap"),
    Bug("a pass brings what is accepted on average, and no token of its own", "Speculation.tokens_mean", "1.0 + ", "",
        "test_speculation.py::test_a_mean_length_is_that_of_tokens_that_are_accepted_alike"),
    # engines that batch continuously
    Bug("the first admitted is thrown out", "VllmV1.compose", "self.running.pop()", "self.running.pop(0)",
        "test_scheduling_rules.py::test_the_last_admitted_is_thrown_out"),
    Bug("somebody joins a pass for which another was thrown out", "VllmV1.compose",
        "if not preempted:", "if True:",
        "test_scheduling_rules.py::test_nobody_joins_a_pass_for_which_somebody_was_thrown_out"),
    Bug("decoding requests take nothing of a pass", "VllmV1.compose", "budget -= tokens", "budget -= 0",
        "test_scheduling_rules.py::test_running_requests_leave_less_of_a_pass_to_prompts"),
    Bug("who was thrown out goes to the end of the line", "VllmV1._preempt",
        "self.waiting.appendleft(request)", "self.waiting.append(request)",
        "test_scheduling_rules.py::test_who_was_thrown_out_is_the_first_in_the_line"),
    Bug("who does not fit lets others pass", "VllmV1._admit",
        "> self.blocks.free:\n", "> self.blocks.free:\n                self.waiting.rotate(-1)\n",
        "test_scheduling_rules.py::test_who_does_not_fit_holds_up_those_behind_it"),
    Bug("a cached prompt computes nothing", "VllmV1._assumed", "request.known - 1", "request.known",
        "test_scheduling_rules.py::test_the_last_token_of_a_cached_prompt_is_computed"),
    Bug("a prompt is cut that must not be", "VllmV1._admit",
        "not self.rules.chunked and tokens > budget", "False",
        "test_scheduling_rules.py::test_a_prompt_that_is_not_cut_waits_for_a_pass_of_its_size"),
    Bug("a prompt starts though not all of it fits", "VllmV1._admit",
        "request.known if self.rules.reserve else ", "",
        "test_scheduling_rules.py::test_room_is_kept_for_all_of_a_prompt"),
    Bug("the beginning of what was computed is used first", "BlockPool.release",
        "reversed(held)", "held",
        "test_scheduling_rules.py::test_who_was_thrown_out_finds_the_beginning_of_its_own"),
    Bug("a backlog is as long as caches hold", "simulations.cold._chains",
        "max(_CHAINS_MIN, math.ceil(_TIMES_HELD * held))", "max(4, math.ceil(0.2 * held))",
        "test_cold.py::test_turns_find_nothing_where_four_times_as_many_sessions_wait_as_caches_hold"),
    Bug("the load is that of engines that find everything", "simulations.saturation.load_with_hits",
        "(1.0 - found) * most_s", "(1.0 - found) * least_s",
        "test_cold.py::test_the_load_is_one_at_the_rate_that_a_fleet_serves_with_the_hits_that_it_has_then"),
    Bug("a fleet that would not come back is taken", "EngineCase._refused_from_cold",
        "rate_rps <= cold_rps", "rate_rps <= 2.0 * cold_rps",
        "test_sessions.py::test_a_fleet_that_would_not_come_back_is_refused_unless_it_is_allowed"),
    Bug("what is found takes room though others use it", "BlockPool.unused",
        "sum(not self._users[block] for block in blocks)", "len(blocks)",
        "test_shared_cache.py::test_blocks_in_use_by_others_take_no_room"),
    Bug("engines are as settled where arrivals come in clusters", "EngineCase.counted_min",
        "max(1.0, arrivals_scv", "min(1.0, arrivals_scv",
        "test_engine_case.py::test_so_many_are_counted_before_anything_is_believed"),
    Bug("sessions that count end among few others", "EngineCase.length", "cool_down = max(_COOL_DOWN_MIN, warm_up)", "",
        "test_session_hits.py::test_sessions_that_count_end_before_others_stop_to_come"),
    Bug("what caches find may still rise", "EngineCase.has_forgotten", "not drifts(", "bool(",
        "test_session_hits.py::test_what_caches_find_is_not_settled_as_long_as_it_rises"),
    Bug("a cache between bounds has a known size", "KvCache.evenly", "self.of_size(size) for size in sizes",
        "self for _ in sizes", "test_session_hits.py::test_bounds_of_the_size_of_a_cache_enter_the_interval"),
    Bug("the second block of a content is found first", "BlockPool.found", "holders[0]", "holders[-1]",
        "test_shared_cache.py::test_of_two_blocks_with_one_content_the_first_to_have_it_is_found"),
    Bug("sessions that end at one instant free their blocks in any order", "shared_blocks.release_in_order",
        "turns[request].place < turns[first].place", "turns[request].place > turns[first].place",
        "test_shared_cache.py::test_both_engines_give_the_same_bytes_and_lose_no_token"),
    Bug("a router reads engines as they are after its tick", "kernel.engines._read_before",
        "np.nextafter(instant_s, -np.inf)", "instant_s",
        "test_shared_cache.py::test_a_router_reads_what_a_pass_leaves_as_it_ends"),
    Bug("the turns of a session do not wait for answers", "Turns.follows_s",
        "ended_s + self.think_s[row + 1]", "ended_s",
        "test_shared_cache.py::test_the_next_turn_comes_when_the_answer_was_read_and_finds_prompt_and_answer"),
    Bug("blocks that are never asked for again take no room", "GroupRequests.characteristic_requests",
        "self.own_blocks * requests", "0.0",
        "test_hit_laws.py::test_che_is_within_one_percent_of_the_truth_for_many_groups"),
    Bug("the last token of an answer is found", "hit_laws.unlimited_hit_share",
        "prompt + output - 1, ", "prompt + output, ",
        "test_hit_laws.py::test_with_a_constant_number_of_turns_the_sum_has_as_many_terms"),
    Bug("the last block is never used", "BlockPool.grow",
        "missing > len(self._free)", "missing >= len(self._free) and missing > 0",
        "test_scheduling_rules.py::test_a_request_may_fill_the_cache"),
    Bug("a pass composed ahead sees slots that are not free yet", "EngineReplica.serve",
        "self.scheduler.compose() if self._rules.ahead else []", "[]",
        "test_scheduling_rules.py::test_slots_return_a_pass_late_where_it_is_composed_ahead"),
    Bug("who runs in a pass counts as one", "reference.engine.Tally.passes",
        "span_s * len(scheduler.running)", "span_s",
        "test_scheduling_rules.py::test_little_on_the_line_the_slots_and_the_blocks"),
    Bug("the kernel lets one join a pass for which another was thrown out", "continuous._compose_blocks",
        "if not preempted:", "if True:",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("blocks to spare are kept for the first one too", "VllmV1._admit",
        "(self.rules.spare if self.running else 0)", "self.rules.spare",
        "test_scheduling_rules.py::test_who_starts_beside_others_leaves_blocks_to_spare"),
    Bug("the kernel uses blocks that hold nothing in turn", "own_blocks._put_first",
        "world.tags[r, 0].ahead += blocks", "world.engines[r].loose += blocks",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("the kernel cuts the prompt of a request that is alone", "continuous._part_max",
        "if engine.lone_is_whole:", "if False:",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("SGLang throws out who has most output tokens", "Sglang._retract",
        "kept.pop()", "kept.pop(0)",
        "test_sglang.py::test_who_has_fewest_tokens_is_thrown_out_to_the_end_of_the_line"),
    Bug("the kernel's ratio stays where it is in a run of passes", "continuous._decay",
        "passes -= 1", "passes -= 2",
        "test_sglang.py::test_the_compiled_engine_gives_the_same_bytes_as_the_readable_one"),
    Bug("SGLang admits by what is free now", "Sglang._begin",
        "left.room - freed - left.reserved", "left.room - freed",
        "test_sglang.py::test_who_runs_is_expected_to_take_a_share_of_what_may_come"),
    Bug("SGLang frees blocks of answers before those of prompts", "continuous._dismiss_parts",
        "row.held > 0 and world.rules.policy == SGLANG", "False",
        "test_sglang_sessions.py::test_both_engines_give_the_same_bytes_and_lose_no_token"),
    Bug("SGLang counts what others use as room that a request takes", "Sglang._begin",
        "before - (len(found) - self.blocks.unused(found)) * block", "before",
        "test_sglang_sessions.py::test_what_others_use_is_no_part_of_the_room_for_one_that_shares_it"),
    Bug("SGLang forgets what those that wait begin with", "Sglang._begin",
        "self._refresh(request, request.known - 1)", "pass",
        "test_sglang_sessions.py::test_what_a_request_begins_with_stays_while_it_waits"),
    Bug("the kernel turns the line round for good", "continuous._refresh_waiting",
        "row.behind = following", "row.behind = NO_REQUEST",
        "test_sglang_sessions.py::test_both_engines_give_the_same_bytes_and_lose_no_token"),
    Bug("the kernel refreshes the beginning of a prompt first", "shared_blocks.refresh",
        "range(_hits_of(world, r, request, most) - 1, -1, -1)", "range(_hits_of(world, r, request, most))",
        "test_sglang_sessions.py::test_both_engines_give_the_same_bytes_and_lose_no_token"),
    Bug("a run of passes goes on though somebody came", "continuous.run_on",
        " or engine.knock:", ":",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("an engine that flows has blocks for all", "continuous._compose_flowing",
        "if free < 0 or budget < 0:", "if budget < 0:",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("an engine that flows gives a token too many", "continuous._note_last",
        "row.output - 1 - row.computed", "row.output - row.computed",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("who shares a place on the wheel is done with the first", "continuous._dismiss_last",
        "if row.last == passes:", "if True:",
        "test_continuous_batching.py::test_answers_that_end_whole_turns_of_the_wheel_apart_end_when_they_should"),
    Bug("a full line takes one more", "continuous.is_line_full", "limit <= waiting", "limit < waiting",
        "test_engines_in_trouble.py::test_who_finds_the_limit_waiting_is_rejected_also_before_the_first_pass"),
    Bug("an engine goes on though a user may come back to another before", "kernel.engines._earliest",
        "first, first_s, second_s = r, instant_s, min(first_s, second_s)", "first, first_s = r, instant_s",
        "test_engine_worlds.py::test_both_engines_give_the_same_bytes"),
    Bug("a lost request meets all limits", "statistics.tokens._missed", "lost if limits else 0", "0",
        "test_engine_worlds.py::test_requests_that_find_a_full_line_are_late"),
    Bug("the kernel takes the tokens of prompts from nobody", "continuous._admit",
        "        budget -= tokens", "        budget -= 0",
        "test_scheduling_rules.py::test_the_compiled_engine_goes_by_the_same_rules"),
    Bug("who begins in the midst of its service has no blocks", "SaturatedEngine._seat",
        '-(-rows["computed"] // self._rules.block_tokens)', "0",
        "test_saturation.py::test_who_begins_without_a_token_of_the_step_holds_its_blocks"),
    Bug("a saturated engine counts answers alone", "_Case.requests",
        " + prompts * done.prompted / given", "",
        "test_saturation.py::test_what_was_watched_is_counted_by_tokens"),
    Bug("a saturated engine is sized by all that its slots hold", "_settling_requests",
        "min(one.running_mean, rate_rps * passes * step_s(running))", "one.running_mean",
        "test_saturation.py::test_slots_that_never_fill_make_runs_no_longer"),
    # engines with slots
    Bug("of slots that were never used the lowest is taken", "LlamaCpp.__post_init__",
        "deque(reversed(range(self.rules.sequences_max)))", "deque(range(self.rules.sequences_max))",
        "test_llama_cpp.py::test_of_slots_that_were_never_used_the_highest_is_taken"),
    Bug("the slot that was released last is taken", "LlamaCpp._admit",
        "self.idle.popleft()", "self.idle.pop()",
        "test_llama_cpp.py::test_of_slots_that_were_never_used_the_highest_is_taken"),
    Bug("slots are released in the order of the pass", "LlamaCpp._admit",
        "sorted(self.released)", "self.released",
        "test_llama_cpp.py::test_slots_of_one_pass_are_released_in_their_order"),
    Bug("who is called first is looked at first", "LlamaCpp._admit", "*reversed(popped), ", "*popped, ",
        "test_llama_cpp.py::test_deferred_requests_come_first_and_the_last_that_is_called_foremost"),
    Bug("who has just come goes before who was deferred", "LlamaCpp._admit",
        "(*reversed(popped), *self.arrived)", "(*self.arrived, *reversed(popped))",
        "test_llama_cpp.py::test_deferred_requests_come_first_and_the_last_that_is_called_foremost"),
    Bug("prompts are computed in order of arrival", "LlamaCpp._prompts",
        "in self.running", "in sorted(self.running, key=lambda one: one.number)",
        "test_llama_cpp.py::test_prompts_are_computed_in_order_of_slots"),
    Bug("a prompt leaves the whole pass to the next", "LlamaCpp._prompts", "budget -= tokens", "budget -= 0",
        "test_llama_cpp.py::test_prompts_are_computed_in_order_of_slots"),
    Bug("slots that generate take nothing of a pass", "LlamaCpp.compose",
        "self.rules.tokens_max - len(generating)", "self.rules.tokens_max",
        "test_llama_cpp.py::test_every_slot_that_generates_gets_its_token_before_prompts"),
    Bug("prompts come before who generates", "LlamaCpp.compose",
        "[*generating, *self._prompts(self.rules.tokens_max - len(generating))]",
        "[*self._prompts(self.rules.tokens_max - len(generating)), *generating]",
        "test_llama_cpp.py::test_every_slot_that_generates_gets_its_token_before_prompts"),
    Bug("a cached prompt in a slot computes nothing", "LlamaCpp._launch", "request.input - 1", "request.input",
        "test_llama_cpp.py::test_the_last_token_of_a_cached_prompt_is_computed"),
    Bug("a slot holds one token more than its share", "simulations.draws.tokens._require_slots",
        "longest > share", "longest > share + 1",
        "test_llama_cpp.py::test_a_request_that_no_slot_holds_is_refused"),
    Bug("the kernel looks at who is called first first", "continuous._fill_slots",
        "range(popped - 1, -1, -1)", "range(popped)",
        "test_llama_cpp.py::test_the_compiled_engine_gives_the_same_bytes"),
    Bug("a request that takes no time is gone for those who come with it", "serve_routed",
        "finish_s if finish_s > now_s else np.nextafter(now_s, np.inf)", "finish_s",
        "test_kernel.py::test_agrees_with_simpy_where_single_requests_wait_at_their_own_replica"),
    Bug("who waits through a run of passes is not deferred", "continuous.run_on",
        "if done - begun > is_over:", "if False:",
        "test_llama_cpp.py::test_the_compiled_engine_gives_the_same_bytes"),
    # trouble
    Bug("a batch that was collected takes in who comes next", "CollectedRule", "is_collected = True",
        "is_collected = False", "test_recovery_batching.py::test_a_place_in_a_collected_batch_stays_empty"),
    Bug("a crash leaves the wait of TorchServe running", "ProtectedQueue.clear",
        "self._rule, self._timed = rule_for(self._plan), None", "self._timed = None",
        "test_recovery_batching.py::test_a_wait_that_torchserve_has_begun_ends_with_its_replica"),
    Bug("a replica that hangs slows its neighbours down", "FaultyReplica._hang",
        "self._device.rest(self.index)", "pass",
        "test_recovery_batching.py::test_trouble_of_one_replica_of_a_device"),
    Bug("the kernel works off a pause", "devices.pause_job", "s.jobs[r].since_s += length_s", "pass",
        "test_recovery_batching.py::test_trouble_of_one_replica_of_a_device"),
    # draws
    Bug("the generator is not seeded", "Seed.generator",
        "default_rng(np.random.SeedSequence(self.value, spawn_key=key))", "default_rng()",
        "test_arrivals.py::test_the_same_seed_gives_the_same_stream"),
    Bug("replications share a stream", "Seed.generator",
        "(self.stage, self.replication, purpose, *part)", "(self.stage, purpose, *part)",
        "test_arrivals.py::test_every_purpose_stage_replication_and_seed_has_a_stream_of_its_own"),
    Bug("every run begins in a burst", "PhaseClock.__init__",
        "generator.random() < lasting[BURST] / lasting.sum()", "True",
        "test_arrivals.py::test_bursts_are_a_unit_poisson_process_read_off_a_broken_line"),
    Bug("the requests of a burst count as often as chance had it", "Strata.as_one",
        "scale * weight / count if count", "1.0 if count",
        "test_bursts.py::test_a_stratum_counts_with_its_known_share"),
    Bug("a spell is cut before the queue has settled", "BurstRuns._settling_s",
        "RELAXATIONS * (fed", "0.01 * (fed",
        "test_bursts.py::test_spells_are_cut_where_the_queue_settles_within_half_of_them"),
    Bug("five runs of bursts accept for good", "has_runs", "pool.replications >= REPLICATIONS_FIRST", "True",
        "test_bursts.py::test_only_a_search_accepts_by_five_runs"),
    Bug("what is clear under bursts takes twenty runs", "run_counts", "else is_bursty", "else False",
        "test_bursts.py::test_five_runs_that_each_see_many_bursts_refuse_what_is_clear"),
    Bug("slots that never fill must be forgotten under bursts", "EngineCase.bursts",
        "service_s=running /", "service_s=one.running_mean /",
        "test_engine_case.py::test_slots_that_never_fill_are_forgotten_as_soon_as_the_answers_that_run"),
    Bug("chance takes nothing from what piles up in a burst", "overload.backlog_wait_s", " - chance", "",
        "test_overload.py::test_a_fluid_by_hand"),
    # sessions in trouble
    Bug("an engine goes on beyond the answer that lets another turn come", "recovery.engine._compute",
        "len(e.turns) == 0", "len(e.turns) >= 0",
        "test_sessions_in_trouble.py::test_a_turn_joins_an_engine_that_computes_long_answers_when_it_comes"),
    Bug("a replica that had left comes back with what it held", "recovery.engine._change_pool",
        "action == LEAVE", "action == HIDE",
        "test_sessions_in_trouble.py::test_a_replica_that_was_away_comes_back_with_an_empty_cache"),
    Bug("who still runs at an emptied cache leaves the end of what it computes", "shared_blocks.forget_all",
        "labelled = _SILENT", "labelled = 0",
        "test_sessions_in_trouble.py::test_who_still_runs_at_a_replica_that_came_back_leaves_nothing_to_others"),
    Bug("who is back in the cache fills no block with its answer", "continuous._add_part",
        "label(world, r, request, after)", "label(world, r, request, after if tokens > 1 else 0)",
        "test_sessions_in_trouble.py::test_an_attempt_that_is_back_fills_blocks_with_its_answer_at_once"),
    Bug("who is called off reads nothing that was accepted", "recovery.engine._tear", "read_accepted(e, r, buffer, at)",
        "pass",
        "test_sessions_in_trouble.py::test_a_pass_composed_ahead_for_who_is_called_off_reads_what_was_accepted_since"),
    Bug("a day has as many sessions as turns", "Day.__init__", "rate_rps / each", "rate_rps",
        "test_controlled_engines.py::test_sessions_in_a_fleet_that_may_not_scale_are_those_of_the_fixed_one"),
    Bug("sessions pile up that waited before the day", "BacklogWatch.look", "waiting - self._before", "waiting",
        "test_controlled_engines.py::test_a_fixed_fleet_whose_sessions_pile_up_is_told_before_its_day_is_over"),
    Bug("an autoscaler need not bring sessions back", "ControlledCase.refused", "is Reason.BISTABLE", "is Reason.LOSS",
        "test_controlled_engines.py::test_an_autoscaler_that_could_not_bring_sessions_back_is_refused"),
    Bug("SGLang admits once one that waited has gone", "Sglang.call_off", "if request in self.running", "if True",
        "test_sglang.py::test_only_one_that_ran_makes_room_by_being_called_off"),
    Bug("a turn comes before its user has read the answer", "Turns.follows_s", "max(", "min(",
        "test_sessions_in_trouble.py::test_both_kinds_of_engines_give_the_same_bytes"),
    Bug("who goes on is shed as a new session is", "recovery.engine.admit", "s.lengths[request, 3] == 1 and ", "",
        "test_sessions_in_trouble.py::test_a_session_does_not_begin_where_others_wait_and_goes_on_even_so"),
    Bug("sessions that pile up are no trouble", "recovered._as_calm", "<= _SOON *", "<= np.inf *",
        "test_stress_of_sessions.py::test_a_fleet_whose_sessions_pile_up_has_not_recovered"),
    Bug("arrivals are refused while all replicas are away", "recovery.arrivals.find_alive",
        "will_be_back(w)", "False",
        "test_sessions_in_trouble.py::test_who_runs_at_a_restart_begins_again_elsewhere_or_when_a_replica_is_back"),
    # sessions
    Bug("copies of a session share what is theirs alone", "Numbering.copies",
        "own_from = self.shared + before(own)", "own_from = self.shared + 0 * before(own)",
        "test_recorded_sessions.py::test_copies_share_what_different_sessions_share"),
    Bug("a cut context is repeated whole", "_is_new", "given[1:] < given[:-1] + got[:-1]", "given[1:] < given[:-1]",
        "test_recorded_sessions.py::test_a_cut_context_is_told_and_repeats_its_prefix_alone"),
    Bug("the next turn finds the prompt without the answer", "_with_answers",
        "at[number], known", "at[number], tokens[parent]",
        "test_recorded_sessions.py::test_a_next_turn_of_bailian_finds_prompt_and_answer"),
    Bug("a block across the end of the system's prefix is shared by all groups", "SessionLaws._turns",
        "self.system_tokens // block_tokens,", "-(-self.system_tokens // block_tokens),",
        "test_session_laws.py::test_blocks_are_equal_where_all_tokens_are"),
    Bug("a session goes on beyond its context", "SessionLaws.draw", "kept = inputs + outputs <= self.limit",
        "kept = inputs <= self.limit", "test_session_laws.py::test_a_session_ends_where_its_context_is_full"),
    Bug("the last token of a prompt is found", "Requests.of", "(inputs - 1) // block_tokens", "inputs // block_tokens",
        "test_recorded_sessions.py::test_the_last_token_of_a_prompt_is_never_found"),
    Bug("a block that was used again counts twice", "Requests.depths", " - _above(moment, length)", "",
        "test_recorded_sessions.py::test_what_caches_find_is_what_sets_and_lists_find"),
    # statistics
    Bug("the warm-up counts", "Reduction.__init__", "start = length.warm_up\n", "start = 0\n",
        "test_invariants.py::test_window"),
    Bug("who has just begun a batch has a full queue behind it", "BusyStart.underway",
        "(1.0 - left**self.looked_at)", "(1.0 - (1.0 - left) ** self.looked_at)",
        "test_level_fleet.py::test_the_start_has_what_waits_at_the_fixed_point"),
    Bug("a start meets short batches as often as long ones", "SharedStart.underway",
        "np.cumsum(times_s * self.sizes)", "np.cumsum(np.array(self.sizes))",
        "test_pooled_fleet.py::test_a_start_meets_long_batches_more_often_at_any_point"),
    Bug("batches at one queue end together at the start", "serve._begin_sharing",
        "tournament(underway.ends_s)", "tournament(0.0 * underway.ends_s)",
        "test_pooled_fleet.py::test_both_engines_start_alike"),
    Bug("idle replicas take no request alone", "_law_of_sizes",
        "sizes[0] += 1.0 + idle", "sizes[0] += 1.0",
        "test_pooled_fleet.py::test_the_law_of_batches_solves_its_balance"),
    Bug("a part of a fleet gets the requests of all", "BatchCase.simulated",
        "arrival_rate_rps=share * workload", "arrival_rate_rps=workload",
        "test_level_fleet.py::test_a_search_looks_at_a_part_of_thousands"),
    Bug("means of a busy start have no error of the start", "_full_looks",
        "Pool.of((), case.start_error)", "Pool.of(())",
        "test_level_fleet.py::test_means_behind_least_outstanding_have_the_error_that_the_start_leaves"),
    Bug("the first requests are routed", "cluster._arrive",
        "if request < len(placed):", "if request < 0:",
        "test_level_fleet.py::test_both_engines_start_alike"),
    Bug("a late share is allowed to be as large as the quantile", "quantile_floor_s",
        "1.0 - quantile) * rate_rps", "quantile) * rate_rps",
        "test_level_fleet.py::test_the_floor_of_a_quantile_is_that_of_the_best_mixture"),
    Bug("the rank of a quantile is one too low", "Tally.quantile_s",
        "quantile * self._total", "quantile * self._total - 1.0",
        "test_tally.py::test_the_quantile_of_an_exact_tally_is_numpys_inverted_cdf"),
    Bug("the standard error is a variance", "Pool._around",
        "error = math.sqrt(squares / degrees / len(sections))", "error = squares / degrees / len(sections)",
        "test_pool.py::test_interval_of_a_share_by_sectioning_by_hand"),
    Bug("ends of an interval are middles of cells", "QuantileEstimate._within",
        "low=(1.0 - self.tally.relative_error_of(low_s)) * low_s", "low=low_s",
        "test_pool.py::test_ends_of_an_interval_are_the_edges_of_their_cells"),
    Bug("one loss is known as well as a thousand", "Pool.loss_interval",
        "high=max(interval.high, exact)", "high=interval.high",
        "test_pool.py::test_few_losses_leave_as_much_possible_as_they_do"),
    Bug("Student's t is one-sided", "student_t", "law, confidence,", "law, 2.0 * confidence - 1.0,",
        "test_pool.py::test_student_t"),
    Bug("sections like their neighbours count in full", "sections._widened",
        "(1.0 + alike) / (1.0 - alike)", "1.0",
        "test_sections.py::test_sections_that_are_like_their_neighbours_are_worth_fewer"),
    # the verdict
    Bug("an objective is met by the value and not by the upper end", "verdict._held",
        "and interval.high <= limit.allowed", "and interval.value <= limit.allowed",
        "test_judge.py::test_the_quantile_alone_can_keep_a_plan_from_being_accepted"),
    Bug("runs that have not settled accept", "verdict.decide", "met = look.settled", "met = True",
        "test_judge.py::test_runs_that_have_not_settled_may_refuse_and_never_accept"),
    Bug("a trace is in doubt that is busier at its end", "looks.is_settled",
        "case.is_path or (", "(",
        "test_estimate.py::test_a_trace_may_be_busier_in_its_second_half"),
    Bug("a doubt is about a limit that is kept", "SimulationJudge._tightest",
        "open_ones or objective.limits", "objective.limits",
        "test_judge.py::test_the_doubt_is_about_a_limit_that_is_open"),
    Bug("other days are known better than this one", "LikeIt.limited_by",
        "self.verdict is not Verdict.MET or verdict is Verdict.MET", "True",
        "test_judge.py::test_other_days_are_not_known_better_than_the_day_that_was_recorded"),
    Bug("looks and candidates are not corrected for", "_Trial.errors",
        "self.error * share_of_error(self.attempt)", "self.error",
        "test_judge.py::test_later_certificates_and_candidates_are_judged_more_strictly"),
    Bug("a search that was put off begins again", "SimulationJudge._search_on",
        "trial, coming, seen)", "trial, self._seen(trial), seen)",
        "test_judge.py::test_a_search_that_is_put_off_goes_on_with_the_same_looks"),
    Bug("a fleet at its limit takes the budget of all", "find_cheapest",
        "is_open = False,", "is_open = True,",
        "test_shared_budget.py::test_the_sixth_profile_is_found_behind_five_that_straddle"),
    Bug("the profile's own error is left out", "ResampledQuantile.interval",
        "(self.levels != self.quantile).any()", "False",
        "test_judge.py::test_a_certificate_of_few_samples_has_a_wider_interval"),
    Bug("resampled quantiles are not levels of the law as simulated", "ResampledQuantile._values",
        "np.where(np.isfinite(levels), seen, beyond)", "beyond",
        "test_profile_error.py::test_a_quantile_in_a_gap_is_read_where_requests_were_seen"),
    Bug("a busy queue has an upper end that its service has not", "ProfileError._samples_beyond",
        "min(max(known), max(", "min(math.inf, max(",
        "test_profile_error.py::test_too_few_samples_leave_a_queue_without_upper_end_however_busy_it_is"),
    Bug("runs under resampled profiles are not counted", "SimulationJudge._with_profile_error",
        "judged.requests + error.requests", "judged.requests",
        "test_judge.py::test_runs_under_resampled_profiles_are_counted"),
    Bug("a lone request is known exactly", "lone_performance",
        "service_interval(profile, q, 1, confidence)", "Interval.exact(profile.law(1).quantile_s(q))",
        "test_what_if.py::test_a_lone_request_is_known_as_well_as_the_service_that_was_measured"),
    Bug("a plan in doubt by its service time is simulated", "BatchCase.refused",
        "doubt is not None", "False",
        "test_judge.py::test_a_service_time_in_doubt_is_in_doubt_for_every_degree_of_care"),
    Bug("too few samples give an upper end", "confidence.has_upper_end", "<=", ">=",
        "test_profile_sampling.py::test_too_few_samples_leave_a_service_time_without_upper_end"),
    Bug("counts that come often enough are left out of a tail", "Ages._after_partial",
        "min(last, most - followed)", "min(last, fewest - followed + 9)",
        "test_bulk.py::test_counts_that_hardly_ever_come_add_nothing_to_a_tail"),
    Bug("early requests of round-robin are those of the first phase", "OldestLaw._rows",
        "early[last:] += came[last] * later[: full + 1 - last]", "early = early",
        "test_bulk.py::test_every_batch_is_followed_by_one"),
    Bug("a law refuses on the limit", "judge_batches_exactly", ") > limit.allowed\n", ") >= limit.allowed\n",
        "test_exact.py::test_on_its_limit_a_plan_is_met_and_a_hair_beyond_it_is_missed"),
    # the objective and what is lost
    Bug("the objective farthest from its limit binds", "Objective.binding",
        "max(self.limits", "min(self.limits",
        "test_objective.py::"
        "test_the_promise_that_binds_is_the_one_nearest_to_its_limit_whatever_its_measure"),
    Bug("a quantile is that of the served alone", "Limit.found", "(late or served)", "served",
        "test_lost_requests.py::test_a_promise_is_found_among_all_requests"),
    Bug("a lost request is not late", "pool.with_lost",
        "sample.durations(measure).with_lost(sample.lost_of(measure))", "sample.durations(measure)",
        "test_lost_requests.py::test_lost_requests_lie_beyond_every_response"),
    Bug("the smallest zone is lost", "Survival.losses",
        "-(-devices // self.zones) * per_device", "devices // self.zones * per_device",
        "test_survival.py::test_losses_by_hand"),
    # the planner
    Bug("stability by the best throughput", "saturated_rps",
        "profile.throughput_rps(plan.batch_size_max)",
        "max(profile.throughput_rps(b) for b in range(1, plan.batch_size_max + 1))",
        "test_search.py::test_stability_counts_full_batches_and_not_the_best_throughput"),
    Bug("a load of 1 is stable", "refuse_load", "rho >= 1.0", "rho > 1.0",
        "test_search.py::test_a_load_of_1_is_refused"),
    Bug("halving stops one short", "fewest.halve_in", "> finest(refused", "> 1 + finest(refused",
        "test_search.py::test_finds_the_true_minimum"),
    Bug("steps above a large fleet in doubt are single", "fewest.finest", "part > 1 and", "part > 9999 and",
        "test_fewest.py::test_above_a_number_in_doubt_no_step_is_finer_than_one_hundredth_of_it"),
    Bug("a failure takes no engine away", "Question", "replicas=left", "replicas=plan.replicas",
        "test_token_search.py::test_what_a_failure_leaves_of_a_fleet_of_engines_must_be_enough_too"),
    Bug("the search ends at the first number that is not enough", "fewest.fewest_enough",
        "while refused < most and may_go_on():", "if refused < most and may_go_on():",
        "test_fewest.py::test_the_smallest_that_is_enough_is_found"),
    Bug("users are taken to wait for longer than they must", "batch_users.rate_at_most_rps",
        "0.5 * (1.0 - np.exp(-sizes))", "1.5 * (1.0 - np.exp(-sizes))",
        "test_relaxation.py::test_users_whose_queues_shrink_forget_sooner_than_they_walk"),
    Bug("full queues of steady service forget as soon as those of exponential service", "steady_walk_requests",
        "return max(walk, full_walk_requests(max(0.0, full), plan.replicas) / varies)",
        "return max(walk, full_walk_requests(max(0.0, full), plan.replicas))",
        "test_relaxation.py::test_full_queues_of_nearly_constant_batches_forget_as_slowly_as_is_allowed"),
    Bug("random routing in short runs has their figure", "if_random", "if candidate.settled:", "if True:",
        "test_plan_decision.py::test_of_random_routing_whose_runs_have_not_settled_the_lower_end_is_known"),
    Bug("choices that were not tried are left out", "find_alternatives",
        "untried.extend(_plan_of(other))\n            continue", "continue",
        "test_alternatives.py::test_choices_beyond_a_dozen_are_noted_as_not_tried"),
    Bug("users do not think after a rejection", "shared_queue.serve_shared",
        "come_back(returns, now_s + entry.think_s)", "come_back(returns, now_s)",
        "test_cluster.py::test_a_user_whom_a_full_queue_rejects_thinks_and_asks_again"),
    Bug("users who think wait too", "refusal._refuse_users", "users.users / served_rps - users.think_time_s",
        "users.users / served_rps", "test_refusal_of_users.py::test_what_the_exact_law_allows_is_never_refused"),
    Bug("a rate above one in doubt is headroom", "Ends._forget", "max(open_ones, default=math.inf)", "math.inf",
        "test_headroom.py::test_a_rate_accepted_above_one_that_is_not_is_no_headroom"),
    Bug("a confirmation accepts by as few late responses as a search", "looks.is_settled",
        "min(1.0, _EXCEEDANCES_SHARE * care)", "0.2",
        "test_bursts.py::test_a_search_accepts_by_fewer_late_responses_than_a_confirmation"),
    Bug("a plan without bursts goes unconfirmed beside another", "Search.separate",
        "is_bursty(self.question) or is_bursty(question)", "True",
        "test_bursty_plans.py::test_what_accompanies_a_plan_under_bursts_is_not_confirmed"),
    Bug("a fleet near saturation is the best of its price", "EngineTheory.strain", "performance.load or 0.0", "0.0",
        "test_token_search.py::test_of_fleets_at_one_price_the_load_counts_beside_the_limits"),
    Bug("each routing is compared in other steps", "EngineSpace.settled",
        "self.batched_tokens_max or (plan.batched_tokens_max,)", "self.batched_tokens_max",
        "test_token_question.py::test_where_the_time_between_tokens_is_limited_smaller_steps_are_tried_too"),
    Bug("a rate that is never settled takes the whole budget", "SimulationJudge._may_stay_open",
        "trial.seed.stage is Stage.HEADROOM and trial.case.requests_with(trial.care) > trial.requests_max", "False",
        "test_engine_case.py::test_a_rate_whose_budget_cannot_settle_it_is_left_open_at_once"),
    Bug("a rate at its limit takes its whole budget", "SimulationJudge._may_stay_open",
        "trial.gives_up and look.settled and not self._may_be_told(trial, look)", "False",
        "test_judge.py::test_a_rate_is_left_open_once_no_verdict_is_likely_within_its_budget"),
    Bug("a rate that samples leave open is simulated as long as any", "SimulationJudge._at_end",
        "max(high, one.value * trial.likely[1])", "high",
        "test_judge.py::test_a_rate_is_left_open_soon_if_the_samples_of_its_profile_are_likely_to_leave_it_open"),
    Bug("a stretch in doubt on the way to the headroom is passed over", "Ends.climb",
        "(is_open and not self.accepts(rate_rps))", "False",
        "test_search.py::test_headroom_ends_at_the_first_refusal_above_todays_rate"),
    Bug("a rate is guessed as if batches did not grow", "headroom.crossing",
        "1.0 / math.sqrt(1.0 - one.size / wall)", "1.0 / (1.0 - one.size / wall)",
        "test_headroom.py::test_the_limit_is_guessed_where_a_line_through_what_was_seen_reaches_it"),
    Bug("a rate is aimed at as if samples left nothing in doubt", "headroom.ends_of",
        "one.pressure * end", "one.pressure",
        "test_headroom.py::"
        "test_where_samples_leave_more_in_doubt_the_ends_are_aimed_at_where_their_interval_leaves_the_limit"),
    Bug("all requests of a spike are as late as the last", "Surge.wait_min_s",
        "quantile * self.duration_s", "2.0 * self.duration_s", "test_overload.py::test_a_spike_by_hand"),
    Bug("prices differ by their rounding alone", "Family.cost",
        'float(f"{devices if usd is None else usd:.12g}")', "devices if usd is None else usd",
        "test_plan_decision.py::test_three_devices_at_a_third_of_the_price_cost_the_same"),
    Bug("the certificate is not asked", "Certifier._certify",
        "if not trial.candidate.accepted:\n", "if False:\n",
        "test_plan_decision.py::"
        "test_a_certificate_that_fails_passes_the_turn_to_the_next_batch_size_and_then_the_next_count"),
    Bug("a certificate asks nothing of what a loss leaves", "certificate.certify",
        "in question.events(plan) if candidate.accepted else ():", "in ():",
        "test_plan_decision.py::test_every_event_is_certified_and_one_that_fails_passes_the_turn"),
    Bug("a large headroom is found as finely as a small one", "recommendation.one_answer",
        "return max(DECIDED, _OF_GROWTH * (1.0 - today_rps / rate_rps))", "return DECIDED",
        "test_headroom.py::test_a_large_growth_takes_fewer_trials_and_laws_are_asked_as_often"),
    Bug("a rate where no trial fits stays the end of what is in doubt", "Ends.lower",
        "range(_GLANCES_MAX)", "range(0)",
        "test_headroom.py::test_brief_looks_lower_the_refused_end_where_no_trial_fits"),
    Bug("an event that refuses a fleet is no nearer than a whole fleet that is unstable", "candidate.closest",
        "rank = 3 if", "rank = 2 if",
        "test_explain.py::test_what_an_event_refused_is_closer_than_what_theory_refused"),
    Bug("a smaller batch that carries more is not named", "caveats.size_caveats",
        "share > _SUMMARY_SHARE", "share > 1.0 + _SUMMARY_SHARE",
        "test_caveats.py::test_a_smaller_batch_that_serves_clearly_more_is_named"),
    Bug("where all batches wait one fewer is not judged", "Search.glance",
        "if refuse_loads(self.question, plan) is not None:", "if False:",
        "test_plan_decision.py::test_where_all_batches_wait_one_fewer_is_judged_too"),
    Bug("notes of a frontier come in the order of its points", "frontier.notes",
        "in_order(caveat for spot in frontier.spots for caveat in spot.found.caveats)",
        "(caveat for spot in frontier.spots for caveat in spot.found.caveats)",
        "test_frontier_words.py::test_the_note_that_matters_most_is_part_of_the_short_answer"),
    Bug("each end is taken from whichever trial came last", "headroom._end_of",
        "nearest = min(known, key=off, default=None)", "nearest = known[-1] if known else None",
        "test_headroom.py::test_each_end_is_that_of_the_trial_whose_own_is_nearest_to_the_limit"),
    Bug("a wait is tried wherever a fleet misses", "BatchTheory.may_wait", "one.low <= times", "one.low > 0.0",
        "test_batch_waits.py::test_a_wait_is_tried_only_where_what_starts_at_once_misses_by_little"),
    Bug("a fleet is refused with a smaller one", "Search._larger_refused",
        "known.replicas > plan.replicas", "known.replicas < plan.replicas",
        "test_put_off.py::test_what_was_put_off_is_refused_with_a_larger_fleet"),
    Bug("a fleet is refused with a larger one in another setting", "Search._larger_refused",
        "and replace(known, replicas=plan.replicas) == plan", "",
        "test_put_off.py::test_a_smaller_batch_or_a_faster_larger_one_is_not_refused_with_a_larger_fleet"),
    Bug("every fleet is a test of its own", "Search._test",
        "setting = replace(plan, replicas=1) if self._more_never_hurts(plan) else plan", "setting = plan",
        "test_put_off.py::test_numbers_of_replicas_are_one_test_and_each_setting_another"),
    Bug("a rate is accepted on runs that are to be confirmed", "SimulationJudge._trial",
        "if stage in _SEARCHING else case", "if stage is not Stage.CERTIFY else case",
        "test_judge.py::test_only_what_accepts_nothing_for_good_has_short_runs"),
    Bug("what was given up counts as known", "_Trial.narrower",
        "left = self.requests_max - look.given_up", "left = self.requests_max",
        "test_judge.py::test_runs_that_were_given_up_do_not_make_an_interval_look_like_its_last"),
    Bug("what stands beside an answer has a quarter that settles nothing", "SimulationJudge.search",
        "trial.case.requests_with(trial.care),", "0,",
        "test_judge.py::test_what_stands_beside_an_answer_may_take_what_its_first_full_look_needs"),
    Bug("a search draws although its budget is too small for its losses", "_Trial.looks",
        "self.requests_for_losses > self.requests_max", "self.requests_for_losses < 0",
        "test_judge.py::test_a_search_whose_budget_is_too_small_for_its_losses_draws_nothing"),
    Bug("the budget told knows nothing of losses", "SimulationJudge._left_open",
        "least, 2 * trial.requests_for_losses)", "least)",
        "test_judge.py::test_a_search_whose_budget_is_too_small_for_its_losses_draws_nothing"),
    Bug("a setting in doubt hides all others of its fleet", "Search._is_clearly_better",
        "ours.high < theirs.low", "ours.value < theirs.value",
        "test_put_off.py::test_one_that_may_be_better_than_what_stays_in_doubt_is_gone_on_with"),
    Bug("bursts decide what waits hold, however few come in them", "holding._deciding_rate_rps",
        "is_long and decides and", "is_long and",
        "test_batch_waits.py::test_bursts_decide_only_where_they_hold_more_requests_than_may_be_late"),
    Bug("a search goes on with all settings of a fleet", "Search._worth_it",
        "best.setdefault(_line(one), one)", "best.setdefault(one.plan, one)",
        "test_put_off.py::"
        "test_it_goes_on_with_the_best_setting_of_a_fleet_and_with_the_next_once_that_is_refused"),
    Bug("what is barely stable is judged in its turn", "BatchTheory.is_barely_stable",
        "_BARELY < load < 1.0", "False",
        "test_put_off.py::test_settings_that_are_barely_stable_come_last_and_only_if_no_other_is_accepted"),
    Bug("runs that still rise are given more like them", "looks._longer",
        "longer = case.longer", "longer = None",
        "test_longer_runs.py::test_longer_runs_settle_where_more_runs_never_would"),
    Bug("a split leaves out the last gap", "arrivals._split_gaps",
        "number = 1.0 + math.floor", "number = math.floor",
        "test_split_arrivals.py::test_its_gaps_have_the_law_of_every_gap_that_a_coin_leaves"),
    Bug("looks that may not accept take a share of the error", "_Trial.errors",
        "share_of_error(max(1, settled))", "share_of_error(look)",
        "test_judge.py::test_looks_that_may_not_accept_take_no_share_of_the_error_of_acceptance"),
    Bug("a calm stretch decides what waits hold in bursts", "holding._deciding_rate_rps",
        "arrivals.rates_rps(rate_rps)[0]", "arrivals.rates_rps(rate_rps)[1]",
        "test_batch_waits.py::test_in_long_bursts_the_rate_of_a_burst_decides"),
    Bug("a wait is thought to help rarely where times vary", "holding._gain",
        "return _GAIN_OF_SPREAD", "return _GAIN_OF_TAIL",
        "test_batch_waits.py::"
        "test_the_bound_of_varying_times_is_wider_and_there_is_none_where_larger_batches_are_faster"),
    Bug("a held batch waits from the end of the last", "holding._held",
        "late_s = np.maximum(times_s - wait_s, 0.0)", "late_s = times_s",
        "test_batch_waits.py::test_the_share_held_is_that_of_batches_drawn_one_by_one"),
    Bug("a machine's speed is forgotten at each look", "spells.to_uniforms",
        "score = kept * score + math.sqrt(1.0 - kept * kept) * shared[looks]", "score = shared[looks]",
        "test_spell_draws.py::test_requests_share_what_their_distance_leaves"),
    Bug("a tabled normal law is a line between its scores", "spells.normal",
        "x * (rise + (1.0 - x) * ((1.0 - x) * first - x * last))", "x * rise",
        "test_spell_draws.py::test_the_tabled_normal_law_is_right_to_nine_digits"),
    Bug("headroom is the first refused rate", "Ends.headroom",
        "accepted_rps=self.accepted_rps", "accepted_rps=self.refused_rps",
        "test_search.py::test_headroom_is_the_root_of_the_exact_law"),
    # profiles
    Bug("a batch does the work of one request", "ServiceProfile.work_s",
        "batch_size * self.request_work_s", "self.request_work_s",
        "test_profile.py::test_a_batch_occupies_its_replica_for_its_work_and_that_of_its_requests_too"),
    # saved plans
    Bug("a saved plan that was edited is believed", "read_plan_file_document",
        'if given.sha256 != signature(document):', "if False:",
        "test_plan_file.py::test_a_plan_that_was_edited_is_refused"),
    Bug("a fleet may grow for the same price", "Size.exceeds",
        "return is_dearer or (self", "return is_dearer and (self", "test_gate.py::test_what_is_more"),
    Bug("a plan that is too small is said to need no more", "GateAnswer._instead", "if size.verdict is Verdict.MISSED:",
        "if size.verdict is Verdict.INCONCLUSIVE:",
        "test_gate.py::test_a_slower_model_breaks_the_promise_with_numbers"),
    Bug("a million of a day is paid for at its highest rate only", "Recommendation.usd_per_million",
        "1.0 if day is None else day.peak_rate_rps / day.part_mean_rps", "1.0",
        "test_instead.py::test_what_a_million_costs"),
    Bug("what Poisson arrivals would do is told of the bursty ones", "sentences._seen_at_poisson",
        "limit.found(calm.performance)", "limit.found(recommendation.performance)",
        "test_explain.py::test_what_poisson_arrivals_would_need"),
    Bug("a trace that is sped up is not said to be", "sentences.demand", "abs(times - 1.0) > _AS_RECORDED",
        "abs(times - 1.0) < 0.0", "test_refusal_sentences.py::test_traffic_in_words"),
    Bug("a difference in doubt is told as one", "compare._less_or_more", "if difference.low <= 0.0 <= difference.high:",
        "if False:", "test_comparison_tables.py::test_the_first_sentence_says_what_the_other_fleet_does_and_costs"),
    Bug("fleets that lose requests are compared by those served", "compare._in_a_sentence",
        "any(one.loss_probability for one in comparison.performances)", "False",
        "test_comparison_tables.py::test_where_requests_are_lost_the_first_sentence_compares_nothing"),
    Bug("a choice that leaves less room is told without", "sentences._why_not",
        "least is not None and load > _BUSIER * least", "False",
        "test_instead.py::test_up_to_two_choices_of_the_plans_price_say_how_near_they_come_to_their_limit"),
    Bug("a fleet that misses its limit is said to save", "screen.answer_text", "if screen.remedies and any(",
        "if not screen.remedies and any(",
        "test_screens.py::test_of_several_ways_out_the_cheapest_is_named_and_none_where_the_limit_is_held"),
    # frontiers
    Bug("a longer context is refused whatever comes", "lengths.fitted_lengths",
        "if context_tokens_max > measured and fitted.context_max > measured:", "if context_tokens_max > measured:",
        "test_frontier.py::test_a_context_beyond_what_was_measured_is_covered_where_all_requests_are_shorter"),
    Bug("what a context leaves out is told of the wrong end", "frontier._left_out", "most = max(", "most = min(",
        "test_frontier.py::test_a_context_beyond_what_was_measured_is_covered_where_all_requests_are_shorter"),
    # the panel of a report
    Bug("a point is met if its value is within the limit", "what_if._numbers", "bisect_left(allowed, found.high)",
        "bisect_left(allowed, found.value)",
        "test_report_what_if.py::test_the_verdict_is_that_of_the_interval_against_the_limit"),
    Bug("a point that misses another limit is met", "Numbers.verdict", " or self.others is Verdict.MISSED", "",
        "test_report_what_if.py::test_other_limits_count_as_they_were_planned"),
    Bug("the sliders of rates and replicas look in each other's place", "Panel.cell", "zip(self.axes[:-1], places",
        "zip([self.axes[0], self.axes[2], self.axes[1], self.axes[3]], places",
        "test_report_what_if.py::test_without_script_there_is_a_table_and_no_slider"),
    Bug("longer outputs are those of the plan", "fleets_around", "if factor == 1.0 else", "if factor >= 1.0 else",
        "test_around.py::test_requests_with_lengths_have_shorter_and_longer_outputs"),
    Bug("of cells that need as much one is counted", "allowance", "both <= total and cells * need",
        "need <= total and need",
        "test_sweep.py::test_as_many_cells_as_fit_share_an_allowance"),
    # fleets of language models side by side
    Bug("each fleet has requests of its own", "PairedSimulation._looks",
        "case.tasks(length, self._seed, numbers)",
        "case.tasks(length, replace(self._seed, value=100 * cases.index(case)), numbers)",
        "test_language_models.py::test_differences_are_narrower_than_those_of_separate_simulations"),
    # clients that retry, and faults
    Bug("a reply at the instant of the timeout comes too late", "Population._watch",
        "Phase.TIMEOUT, rank", "Phase.FAULT, rank",
        "test_recovery_reference.py::test_a_reply_at_the_instant_of_the_timeout_is_in_time"),
    Bug("only what has expired is shed", "protected_queue.shedding_for",
        "attempt.expires_s - now_s < protection.late_margin_s", "attempt.expires_s < now_s",
        "test_recovery_reference.py::test_who_has_less_than_the_margin_left_is_shed"),
    Bug("successes pay for what first tries should", "budgets.budget_for",
        "BudgetKind.FIRST_TRIES: FirstTries", "BudgetKind.FIRST_TRIES: Successes",
        "test_recovery_reference.py::test_first_tries_pay_for_retries"),
    Bug("retries cost nothing", "FirstTries.allows",
        "return self.pays()", "return self.tokens >= self.budget.cost",
        "test_recovery_reference.py::test_first_tries_pay_for_retries"),
    Bug("a replica that crashes keeps its queue", "FaultyReplica.clear",
        "if self._owns_queue else", "if False else",
        "test_recovery_reference.py::test_a_crash_loses_batch_and_queue_and_fails_at_once_until_it_is_noticed"),
    Bug("a replica that pauses goes on with its batch", "FaultyServer._pause",
        "self._work.ends_s += length_s", "self._work.ends_s += 0.0",
        "test_recovery_reference.py::test_a_pause_delays_the_batch_and_the_next"),
    Bug("who comes back is as fast as before", "FaultyReplica._coldness",
        "return self._cold.factor", "return 1.0",
        "test_recovery_reference.py::test_the_first_batches_of_who_comes_back_are_slow"),
    Bug("in the kernel who has come back stays cold", "replica.start",
        "w.replicas[r].cold -= 1", "w.replicas[r].cold -= 0",
        "test_recovery_kernel.py::test_the_kernel_is_slow_at_first_when_a_replica_has_come_back"),
    Bug("who starts slowly weighs nothing less in the kernel", "balancer.weigh",
        "weight = min(WEIGHT, 1 + WEIGHT * math.floor(now_s - back_s) // slow_start_s)", "weight = WEIGHT",
        "test_slow_start.py::test_turns_of_who_is_back_grow_by_a_sixteenth_a_second"),
    Bug("who was never out starts slowly", "FaultyServer._join",
        "if not self.is_visible:", "if True:",
        "test_slow_start.py::test_who_was_never_out_or_comes_back_with_all_others_has_its_share_at_once"),
    Bug("HAProxy weighs a server without requests", "least_outstanding.longest_unchanged",
        "one.outstanding and load(one, 1)", "load(one, 1)",
        "test_slow_start.py::test_to_haproxy_a_server_without_requests_comes_first_whatever_it_weighs"),
    Bug("who is down when it is lost comes back at its own end", "absence._down",
        "back_s = max(back_s, planned.back_s)", "pass",
        "test_absence.py::test_who_is_down_when_it_is_lost_comes_back_at_the_later_of_both_ends"),
    Bug("all replicas are up at first", "absence._down",
        "if first < 1.0 else up_s()", "if False else up_s()",
        "test_absence.py::test_the_share_of_a_fleet_that_is_up_is_that_of_the_two_means"),
    Bug("the attempt that lost is not stopped", "recovery.population.Population.answer",
        "            self._tell(other)\n", "",
        "test_recovery_reference.py::test_the_attempt_that_lost_is_stopped_if_clients_say_so"),
    Bug("the kernel sheds only what has expired", "replica.is_turned_away",
        "until_s - now_s < rules.margin_s", "until_s < now_s",
        "test_recovery_kernel.py::test_the_kernel_sheds_who_has_less_than_the_margin_left"),
    Bug("one more waits at an engine than its limit", "FaultyEngine.admit",
        "self.waiting >= limit", "self.waiting > limit",
        "test_engines_in_trouble.py::test_who_finds_the_limit_waiting_is_rejected_also_before_the_first_pass"),
    Bug("an engine that leaves keeps who waits", "VllmV1.vacate",
        "if not request.preemptions", "if False",
        "test_engines_in_trouble.py::test_who_leaves_ends_what_it_has_begun_and_hands_on_who_waits"),
    Bug("an engine goes on with who was called off", "VllmV1.call_off",
        "if request in self.running:", "if False:",
        "test_engines_in_trouble.py::test_an_attempt_that_is_called_off_leaves_its_slot_at_once"),
    Bug("a pass after a run that is broken off reads a token less", "engine.break_off",
        "read += computed", "read += computed - 1",
        "test_engines_in_trouble.py::test_a_pass_that_was_composed_ahead_reads_all_tokens_before_it"),
    Bug("passes that end as a fault happens come before it", "loop.run_loop",
        "order >= RANKS", "order >= 0",
        "test_engines_in_trouble.py::test_a_fault_comes_before_the_pass_that_begins_at_its_instant"),
    Bug("a watcher sees the last pass of a run twice", "engine._complete",
        "now_s, is_last_of_run)", "now_s, False)",
        "test_engines_in_trouble.py::test_a_watcher_sees_who_waits_who_runs_and_how_long_engines_have_worked"),
    Bug("a response takes no time in a full engine", "TokenEngine.served_s",
        "return self.saturation.running_mean / self.saturation.rate_rps", "return 0.0",
        "test_token_stress.py::test_an_engine_of_one_slot_serves_what_its_passes_allow"),
    Bug("a spike leaves traffic as it is", "Stress.spike_factor",
        "self.trigger.factor if", "1.0 if", "test_outages.py::test_a_spike_moves_users_and_makes_none"),
    Bug("one good window is a recovery", "recovered._recovered",
        "> steady + 0.5", "> 0.5", "test_recovered.py::test_less_than_half_a_minute_of_success_is_none"),
    Bug("by the fluid law all try again from the beginning", "fluid._backlog",
        "(lasts_s - filled_s)", "lasts_s", "test_fluid.py::test_a_spike"),
    Bug("only one of an orbit tries again at a time", "Retrial._cut",
        "orbit * self.retry_rate_per_s", "self.retry_rate_per_s",
        "test_recovery_laws.py::test_retrial_figures"),
    # autoscaling
    Bug("replicas that start count as they are on the way up", "calculator.desired_replicas",
        "uses += [(0, pod.request) for pod in pods.ignored]",
        "uses += [(pod.used or 0, pod.request) for pod in pods.ignored]",
        "test_replica_calculator.py::test_replicas_are_those_of_kubernetes_own_table"),
    Bug("a fleet shrinks at once", "Controller._stabilized",
        "max(desired, largest)", "desired",
        "test_autoscaled.py::test_the_fleet_shrinks_once_the_last_large_recommendation_is_old"),
    Bug("a replica serves as soon as it is asked for", "Scaler._decide",
        "[now_s + self._settings.startup_s]", "[now_s]",
        "test_autoscaled.py::test_new_replicas_serve_after_lag_sync_and_start_up"),
    Bug("metrics are known at once", "Scaler._decide",
        "<= now_s - self._settings.metric_lag_s", "<= now_s",
        "test_autoscaled.py::test_new_replicas_serve_after_lag_sync_and_start_up"),
    Bug("an autoscaler sees no work of engines before its window", "EngineServers.sight",
        'engines["worked_s"] + so_far_s', 'engines["busy_s"] + so_far_s',
        "test_controlled_engines.py::test_without_chance_as_many_engines_run_as_the_target_asks_for"),
    Bug("a day with an autoscaler is refused by its highest rate", "ControlledCase.require_answerable",
        "with suppress(UnstableError, InconclusiveError):", "if True:",
        "test_controlled_case.py::test_a_rate_above_the_capacity_is_simulated"),
    Bug("a later confirmation is as lenient as the first", "DaySimulation.certify",
        "share_of_error(attempt) * ", "",
        "test_day_sums.py::test_a_confirmation_has_its_own_users_and_twice_as_many_days_while_it_is_open"),
    Bug("requests of clients are counted in the bursts of other numbers", "replication._attempts_by_strata",
        "Purpose.PHASES", "Purpose.ROUTING",
        "test_client_case.py::test_clients_whom_no_response_tries_see_the_strata_of_patient_ones"),
    Bug("a controller does not see the replica that is gone", "Scaler._pods",
        "pods = [down] * self._gone", "pods = [down] * 0",
        "test_controlled_case.py::test_a_replica_that_is_gone_holds_the_controller_back"),
    Bug("the first limit of an autoscaler decides alone", "Days.is_held",
        "all(one.is_held for one in self.kept)", "self.kept[0].is_held",
        "test_autoscaled.py::test_two_limits_on_a_fixed_fleet_are_those_of_the_exact_law"),
    Bug("a confirmation has the users of the search", "DaySimulation.certify",
        "Stage.AUTOSCALE_CERTIFY", "Stage.AUTOSCALE",
        "test_day_sums.py::test_a_confirmation_has_its_own_users_and_twice_as_many_days_while_it_is_open"),
    Bug("a large pool waits for bursts that its services hide", "counted_of_large_pool",
        "(burst / service) ** 2", "1.0",
        "test_large_pools.py::test_a_pool_needs_no_more_bursts_than_its_services_hide"),
    Bug("the search stops at the lower bound it begins with", "cheapest._Search._raised",
        "return most + 1 if best is None else _scaler(best).replicas_min", "return most + 1",
        "test_cheapest_autoscaler.py::test_the_cheapest_is_that_of_an_exhaustive_search"),
    Bug("a controller is confirmed by an excerpt of the day", "autoscaling.cheapest._confirmed",
        "confirm(fleet.scaled(bounded)", "confirm(candidate.fleet.scaled(bounded)",
        "test_cheapest_autoscaler.py::test_a_search_in_a_hurry_is_confirmed_by_whole_days"),
    Bug("replicas of a minute that stands for others count once", "cheapest._hours_with",
        "count * each for count", "count for count",
        "test_cheapest_autoscaler.py::test_a_raised_bound_costs_as_much_on_an_excerpt_as_on_the_day"),
    Bug("the first that was found is taken and not the cheapest", "cheapest._Search.held",
        "sorted(held, key=lambda one: (_hours(one), one.pressure.high))", "list(held)",
        "test_cheapest_autoscaler.py::test_the_cheapest_is_that_of_an_exhaustive_search"),
    Bug("a request that is moved starts to wait again", "watched._move_queue",
        "first_over_s(rules, entry, now_s)", "now_s + rules.wait_s",
        "test_autoscaled.py::test_a_watched_fleet_is_that_of_the_reference"),
    Bug("a replica that left is free again once it has ended its batch", "shared_queue.serve_shared",
        "if replica >= replicas:", "if replica >= replicas + 1:",
        "test_autoscaled.py::test_a_watched_fleet_is_that_of_the_reference"),
    Bug("nginx forgives by any answer", "ejection.NginxEjection.answered",
        "if self._failed_s[target.index] < self._tried_s[target.index]:", "if True:",
        "test_recovery_reference.py::test_for_nginx_a_success_forgives_only_if_it_is_tried_later_than_it_failed"),
    Bug("the kernel has no trials of who failed for nginx", "kernel.recovery.balancer.try_out",
        "w.replicas[r].tried_s = math.floor(now_s)", "pass",
        "test_recovery_kernel.py::test_the_kernel_tries_who_has_failed_now_and_then_as_nginx_does"),
    Bug("the kernel forgets the time of batches that have ended", "kernel.recovery.replica.rest",
        "w.replicas[r].busy_s += spent_s", "w.replicas[r].busy_s += 0.0",
        "test_recovery_kernel.py::test_both_engines_show_a_watcher_the_same_and_do_what_it_says"),
    Bug("a second attempt is none", "replication.with_attempts",
        "attempts > 1", "attempts > 2",
        "test_client_case.py::test_a_hedged_request_takes_the_smaller_of_two_times_where_the_load_is_low"),
    Bug("retries keep no fleet down", "fluid.stuck_from",
        "return wait_s * capacity_rps", "return math.inf",
        "test_client_case.py::test_a_fleet_that_retries_keep_down_is_refused_for_its_load"),
    # load tests
    Bug("a user who waits holds nothing back", "omission._beyond",
        "np.maximum(besides, 0.0)", "0.0",
        "test_omission.py::test_what_is_told_is_what_a_schedule_sees"),
    Bug("a stage of the server waits for nothing", "stages.waiting_of",
        "waiting=throughput_rps * queue_s", "waiting=throughput_rps * served_s",
        "test_evidence_commands.py::test_explain_tells_the_queue_by_littles_law"),
    Bug("users who wait are taken for a schedule", "_are_even",
        "_ADDS_UP * few", "1e9 * _ADDS_UP * few",
        "test_k6_loop.py::test_users_who_wait_are_never_taken_for_a_schedule"),
    Bug("failed requests are not in flight", "answered_mean_s",
        "run.answered is not None and len(run.answered.response_s)", "False",
        "test_checks.py::test_failed_requests_are_in_flight_too"),
    Bug("the percentiles of all are not bounded by those of the parts", "_outside",
        "above > 1.0 - q + slack", "above > 1.0",
        "test_checks.py::test_percentiles_of_all_are_bounded_by_those_of_the_parts"),
    Bug("the parts of a run have equal numbers of requests, whenever they were sent", "_sections",
        "span_s > 0.0", "span_s < 0.0",
        "test_steadiness.py::test_a_slow_beginning_of_users_who_wait_is_seen_though_few_requests_are_of_it"),
    # files for other tools
    Bug("one request may wait for a connection", "envoy._limits", "max_pending_requests: {most}",
        "max_pending_requests: 1", "test_deploy_engines.py::test_envoy_enforces_the_queue_limit_that_engines_lack"),
    Bug("a load test passes with many losses", "k6.losses_max", "min(allowed", "max(allowed",
        "test_deploy_k6.py::test_it_has_every_limit_it_can_tell"),
    Bug("a server takes the margin for the wait", "Fleet.wait_limit_s", "patience_s - margin_s", "margin_s",
        "test_deploy_features.py::test_triton_turns_away_whoever_has_too_little_left"),
    Bug("a file is silent on what it does not set", "features.unset_notes", "    if places:", "    if not places:",
        "test_deploy_features.py::test_nothing_is_left_out_in_silence"),
    Bug("vLLM counts what waits alone", "engine_servers._of_vllm", "plan.sequences_max + limit", "limit",
        "test_deploy_features.py::test_vllm_counts_what_runs_and_what_waits"),
    Bug("servers have few points on HAProxy's ring", "ring.HAPROXY_WEIGHT", "256", "1",
        "test_deploy_balancers.py::test_shares_are_even"),
    Bug("each worker of nginx has counts of its own", "nginx._upstream", 'f"zone {', 'f"# zone {',
        "test_deploy_balancers.py::test_workers_of_nginx_share_their_counts"),
    # foreign files
    Bug("a line that was cut off is taken", "Document.records", 'not line.endswith("\\n")', "not line",
        "test_cut_files.py::test_a_file_that_was_cut_within_a_line_is_refused_or_read_as_its_whole_lines"),
    Bug("any last line is a whole one", "Document.records", "not self.is_end(line.strip())", "False",
        "test_cut_files.py::test_a_file_that_was_cut_within_a_line_is_refused_or_read_as_its_whole_lines"),
    Bug("a part of a wrapped line is a line", "captured._rest", '== "P"', '== "F"',
        "test_captured.py::test_a_wrapped_log_is_read_as_what_was_logged"),
    Bug("every endpoint may be a rare one", "percentiles._rare", "if len(rare) < len(parts)", "if True",
        "test_checks.py::test_where_no_other_endpoint_stands_for_the_run_few_requests_turn_it"),
    Bug("a count may be whole by chance", "k6_loop._is_whole_each_second", "> _CHANCE", "> 1.0",
        "test_k6_loop.py::test_few_counts_look_like_a_whole_number_each_second_by_chance"),
    Bug("a checkout says who may run code", "_Reader._require", "key in _NEVER_IN_A_FILE", "key in _NEVER",
        "test_defaults.py::test_a_cluster_is_taken_from_the_flag_or_the_environment"),
    Bug("an error may move the cursor", "Shown.write", "neutral(text)", "text",
        "test_control_characters.py::test_flags_and_names_that_are_typed"),
    Bug("a table may move the cursor", "_Neutral.__rich_console__", "neutral(text)", "text",
        "test_control_characters.py::test_what_python_prints_is_as_safe"),
    # what vLLM's page says, and how an answer is told
    Bug("an engine's queue is looked up without its engine", "prometheus_text._vllm", "found[_labels(sample.labels)]",
        "found[()]", "test_prometheus_text.py::test_a_request_of_vllm_has_its_stages_and_what_its_engine_holds"),
    Bug("a full cache is told as one with room", "stages._of_engine", "now.kv_share >= _FULL",
        "now.kv_share < _FULL", "test_stages.py::test_why_requests_wait_for_an_engine"),
    Bug("an interval ends a line", "Words.wrap", "width >= _ROOM_FOR_INTERVALS", "width < 0",
        "test_lines.py::test_no_line_ends_in_an_interval_where_there_is_room"),
    Bug("COLUMNS counts on a terminal alone", "output.width", "given.isdecimal() and int(given)",
        "given.isdecimal() and int(given) and sys.stdout.isatty()",
        "test_output.py::test_columns_of_the_environment_set_the_width_of_a_file"),
    Bug("a cheaper choice takes as much too", "sentences._instead", "question.cost(one.plan) == question.cost(plan)",
        "one.plan.replicas == plan.replicas",
        "test_instead.py::test_up_to_two_choices_of_the_plans_price_say_how_near_they_come_to_their_limit"),
    # frontiers and maps
    Bug("a value that the profile does not cover counts as met", "FrontierAnswer.verdict",
        "+ [Verdict.INCONCLUSIVE for _ in self.uncovered]", "",
        "test_frontier.py::test_a_value_that_the_profile_does_not_cover_leaves_the_other_points"),
    Bug("points of a frontier move where one is not covered", "FrontierAnswer._values", "not in self.uncovered",
        "not in ()", "test_frontier.py::test_a_value_that_the_profile_does_not_cover_leaves_the_other_points"),
    Bug("a range ends a rounding off its last value", "grid._range", "first + number * by", "low + number * step",
        "test_several_values.py::test_the_values_of_a_range_are_those_that_are_typed"),
    Bug("a frontier in doubt hides a miss", "FrontierAnswer.verdict", "min(", "max(",
        "test_frontier.py::test_the_verdict_is_the_least_favourable_one"),
    Bug("between two limits the cheaper fleet is enough", "_add_costs", "max(one.cost", "min(one.cost",
        "test_frontier_words.py::test_between_two_points_the_picture_has_the_higher_cost"),
    Bug("a map takes a lost request for a quick one", "_seen_ms", 'if row.get("loss_probability") and', "if False and",
        "test_figure_data.py::test_a_map_counts_lost_requests_as_late_and_says_why_a_cell_is_empty"),
    # the table of flags
    Bug("a default counts as given", "Asked.__init__", "name not in given", "False",
        "test_asked.py::test_a_default_gives_way_to_the_same_in_seconds"),
    Bug("a command's message names keywords", "doors.ask", "_work(body, Asked(verb, {**named, **others}, known))",
        "function(**{**named, **others})",
        "test_asked.py::test_messages_name_keywords_in_python_and_flags_in_a_command"),
    Bug("who stays behind the newest is never looked at again", "ProtectedQueue.take",
        "if self._rule.waits_again:", "if False:",
        "test_recovery_reference.py::test_who_stays_waits_again_where_a_free_worker_begins_the_wait"),
    Bug("trouble meets the whole fleet, whatever has failed", "stress._stress",
        "scenario = scenario.after(replace(parse.read_survival(asked), breakdowns=None))", "scenario = scenario",
        "test_failures_in_every_verb.py::test_trouble_meets_the_fleet_that_is_left"),
    Bug("a flag that is typed as its default is ignored in silence", "arguments._is_said", "value is not None",
        "value not in (None, flag.default)",
        "test_asked.py::test_a_flag_that_would_change_nothing_is_refused_even_if_it_is_the_default"),
    Bug("a truth value is a whole number", "doors._whole", "isinstance(value, bool) or ", "",
        "test_asked.py::test_a_value_of_another_type_is_refused_by_its_keyword"),
    Bug("of gzip the first part is all", "_unpacked_parts", "while part :=", "if part :=",
        "test_packed_and_large_files.py::test_a_large_file_is_told_by_its_start_and_read_to_its_end"),
    # a page that is read
    Bug("a thread goes on reading a server that drips", "Page._answer",
        "one.shutdown(socket.SHUT_RDWR)", "pass", "test_http.py::test_no_thread_goes_on_reading_a_server_that_drips"),
    Bug("an answer that is cut off is taken for a whole one", "_got",
        "if answer.length:", "if False:", "test_http.py::test_servers_that_misbehave"),
    # load tests of language models
    Bug("the first token counts among those after it", "LoadRun._per_token_s",
        "self.schedule.lengths[1] - 1", "self.schedule.lengths[1]",
        "test_verify_engines.py::test_tokens_are_measured_from_when_a_request_should_have_been_sent"),
    Bug("a prompt forgets what the server said", "Conversation.answered", "self.said += tokens", "pass",
        "test_verify_sessions.py::test_a_prompt_repeats_what_the_server_said"),
    Bug("runs of one load test have the same text", "conversations._tokens_of",
        "np.uint64(salt * _GAMMA % 2**64)", "np.uint64(0)",
        "test_verify_sessions.py::test_runs_share_no_text"),
    Bug("turns that were not sent are replayed", "replay._counted", " & (arrived_s <= part.to_s)", "",
        "test_verify_sessions.py::test_a_replay_is_what_the_same_caches_did"),
    Bug("a replay serves other lengths than were sent", "Predictor._one_by_one",
        '"in_order": True', '"in_order": False',
        "test_verify_engines.py::test_a_replay_is_what_the_same_engine_did"),
    # files for fleets of engines
    Bug("an autoscaler waits until first tokens are late", "waiting_target",
        "late // 2", "2 * late",
        "test_deploy_fleets_of_engines.py::test_the_autoscaler_acts_before_first_tokens_are_late"),
    Bug("a probe of SGLang has a second", "kubernetes_engines._asks", "if wait_s is None", "if True",
        "test_deploy_fleets_of_engines.py::test_kubernetes_starts_sglang_and_waits_for_its_probes"),
    Bug("how steps are composed is written though no profile says it", "engine_servers._of_vllm",
        "if engine.async_scheduling is not None:", "if True:",
        "test_deploy_fleets_of_engines.py::test_what_the_profile_does_not_know_is_no_setting"),
)
# fmt: on


def give_up(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(2)


@cache
def places() -> dict[str, list[tuple[Path, str]]]:
    """Each function, class and constant by its qualified name: its files and sources there."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for file in (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))):
        path, text = file.relative_to(ROOT), file.read_text()
        for name, node in named(ast.parse(text)):
            source = "".join(text.splitlines(keepends=True)[node.lineno - 1 : node.end_lineno])
            modules = path.with_suffix("").parts
            for start in range(len(modules) + 1):
                found.setdefault(".".join((*modules[start:], name)), []).append((path, source))
    return found


def named(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    for node in scope.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node
            case ast.ClassDef(name=name):
                yield name, node
                yield from ((f"{name}.{inner}", part) for inner, part in named(node))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node


def place_of(bug: Bug) -> tuple[Path, str]:
    """The file and source of a bug's function.

    Raises:
        LookupError: no such function, several, or the text is not in it exactly once.
    """
    here = places().get(bug.place, [])
    if len(here) != 1:
        files = ", ".join(str(path) for path, _ in here)
        raise LookupError(f"bug {bug.name!r}: {bug.place} is found {len(here)} times ({files}), not once")
    ((path, source),) = here
    if (count := source.count(bug.old)) != 1:
        raise LookupError(f"bug {bug.name!r}: {bug.old!r} occurs {count} times in {bug.place}, not once")
    return path, source


def test_of(bug: Bug) -> str:
    """A bug's test as pytest names it, in whatever folder the file is.

    Raises:
        LookupError: no such test, or several.
    """
    file, _, test = bug.test.partition("::")
    here = [path for path in sorted((ROOT / "tests").rglob(file)) if f"def {test}(" in path.read_text()]
    if len(here) != 1:
        raise LookupError(f"bug {bug.name!r}: {bug.test} is found {len(here)} times under tests, not once")
    return f"{here[0].relative_to(ROOT)}::{test}"


def errors(bugs: Sequence[Bug]) -> Iterator[str]:
    """Names in the bugs that do not exist."""
    for bug in bugs:
        for find in (place_of, test_of):
            try:
                find(bug)
            except LookupError as error:
                yield str(error)


def share_machine_code(folder: Path) -> None:
    """Share what was compiled here before, so that it need not be compiled again."""
    here = os.environ.get("NUMBA_CACHE_DIR") or ROOT / "simulations" / "__pycache__"
    if (kept := Path(here, "compiled")).is_dir():
        shutil.copytree(kept, folder / "compiled")


def copy_to(folder: Path) -> None:
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)


@contextmanager
def planted(bug: Bug, folder: Path) -> Iterator[None]:
    """Plant a bug in the folder's copy of its file, and restore the file afterwards, down to its time."""
    path, source = place_of(bug)
    file = folder / path
    file.write_text(file.read_text().replace(source, source.replace(bug.old, bug.new), 1))
    try:
        yield
    finally:
        shutil.copy2(ROOT / path, file)


def failure(folder: Path, tests: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """The first test of the folder's copy that fails; empty if all pass.

    The path makes the copy the imported package, in the test and in the commands that it runs. All copies share
    machine code, which is kept by the digest of its sources: only sources with a bug are compiled again.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        SAME_EXAMPLES,
    ]
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=folder,
            env=os.environ
            | ENVIRONMENT
            | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder.parent / MACHINE_CODE)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"hangs for {timeout_s:g} s"
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) \S+?::(\w+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or found is None:
        give_up(f"the tests did not run: {' '.join((*command, *tests))}\n{done.stdout}{done.stderr}")
    return found[1]


def outcomes(bugs: Sequence[Bug]) -> Iterator[tuple[Bug, str]]:
    """Each bug with the test that caught it, in as many copies as run at once; first all tests without bugs."""
    with tempfile.TemporaryDirectory(prefix="bugs-") as name, ThreadPoolExecutor(AT_ONCE) as executor:
        free: SimpleQueue[Path] = SimpleQueue()
        share_machine_code(Path(name, MACHINE_CODE))
        for number in range(AT_ONCE):
            folder = Path(name, str(number))
            folder.mkdir()
            copy_to(folder)
            free.put(folder)

        @contextmanager
        def taken() -> Iterator[Path]:
            folder = free.get()
            try:
                yield folder
            finally:
                free.put(folder)

        def judge_without() -> str:
            with taken() as folder:
                return failure(folder, sorted({test_of(bug) for bug in bugs}), ALL_TIMEOUT_S)

        def judge(bug: Bug) -> tuple[Bug, str]:
            with taken() as folder, planted(bug, folder):
                return bug, failure(folder, [test_of(bug)])

        without, judged = executor.submit(judge_without), executor.map(judge, bugs)
        if failed := without.result():
            executor.shutdown(cancel_futures=True)
            give_up(f"{failed} fails without a bug")
        yield from judged


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="word")
    words = parser.parse_args().words
    bugs = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    if not bugs:
        give_up(f"no bug has {' or '.join(words)} in its name")
    if found := list(errors(BUGS)):  # of every bug, asked for or not
        give_up("\n".join(found))
    begun_s = time.monotonic()
    survivors: list[Bug] = []
    print("| bug | planted in | caught by |\n|---|---|---|")
    for bug, caught_by in outcomes(bugs):
        if not caught_by:
            survivors.append(bug)
        print(f"| {bug.name} | {bug.place} | {caught_by or 'NOTHING'} |", flush=True)
    print(
        f"\n{len(bugs) - len(survivors)} of {len(bugs)} caught; python benchmarks/planted_bugs.py, "
        f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}, "
        f"{time.monotonic() - begun_s:.0f} s"
    )
    for bug in survivors:  # once more at the end, where whoever reads a long log looks first
        print(f"survives: {bug.name} ({bug.place}); {bug.test} passes")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
