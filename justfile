# The few tasks that people repeat; `just` lists them.

default:
    @just --list

# install for development into the active environment
install:
    python -m pip install -e '.[dev]'

# what CI checks before the tests
lint:
    ruff check .
    ruff format --check .
    mypy

# put files in their usual form
format:
    ruff check --fix .
    ruff format .

# the test command of the README
test:
    python -m pytest

# the tests that take many seconds each, and the notebooks and their sliders
test-long:
    python -m pytest -m "long or notebook or browser" --dist load tests

# hold the simulator against theory
agreement:
    capacity agreement

# plant bugs, each of which one test must catch
planted:
    python benchmarks/planted_bugs.py

# draw a hundred changes at random and print those that no test notices; it takes most of an hour
mutants:
    python benchmarks/draw_mutants.py

# a little of everything at the lowest versions that pyproject.toml allows
lowest:
    bash .ci/lowest

# questions for the planner, its fleets and its autoscalers checked by simulators that share no code with it
brute-force:
    python benchmarks/brute_force.py
    python benchmarks/brute_autoscaler.py
    python benchmarks/brute_sessions.py

# how long people wait: plans, rates, sweeps and large fleets; then start-up and laws, beside what else answers
speed:
    python benchmarks/speed.py
    python benchmarks/start_up.py
    python benchmarks/speed_of_laws.py

# how fast the simulators are, beside a loop in C and other packages
engines:
    python benchmarks/engines.py

# how often 95 % intervals of P50, P99 and the mean hold what six laws say; it takes half an hour
coverage:
    python benchmarks/interval_coverage.py --laws

# emulated fleets behind a real HAProxy and a real nginx, at rest and in trouble, predicted beside measured; it takes some hours as root, and resumes
truth folder="truth":
    python benchmarks/balancers.py -o {{folder}} --lanes 4
    python benchmarks/balancers_table.py --predict {{folder}} -o docs/measurements/real-balancers.jsonl
    python benchmarks/balancers_table.py docs/measurements/real-balancers.jsonl
    python benchmarks/recovery_beside_measured.py --profile {{folder}}/emulated.json -o {{folder}}/recovery.jsonl --runs 0 1
    python benchmarks/conversations.py -o {{folder}}/conversations.jsonl

# a model from training to a verified fleet on this machine, a line for each stage, in five minutes
demo:
    python -m serve_api.demo

# run the notebooks from their .py and write their .ipynb anew
notebooks:
    python tests/notebook_pairs.py --write

# write the README's outputs anew
readme:
    python tests/readme.py --write

# all that CI does, in a new environment
ci:
    bash .ci/run
