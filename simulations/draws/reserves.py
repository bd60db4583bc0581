"""Reserves: what SGLang keeps in its cache, room for answers and what those that wait begin with.

Room is kept by a ratio that falls while nothing is thrown out.

Source:
    SGLang 0.5.23, python/sglang/srt/environ.py, managers/scheduler_components/new_token_ratio_tracker.py and
    managers/schedule_policy.py.
"""

RATIO_FIRST = 0.7
RATIO_LEAST = 0.7 * 0.14
RATIO_STEP = (RATIO_FIRST - RATIO_LEAST) / 600  # for each pass that decodes
AFTER_RETRACTION = 20  # tokens more of each request that stays are expected
ANSWER_MAX = 4096  # tokens of an answer that are ever kept room for
REFRESH_LOOKS = 32  # looks at the queue, at each of which the first of them are taken for used again
REFRESH_REQUESTS = 128
