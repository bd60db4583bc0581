"""Compose: the servers of a plan on one machine."""

from collections.abc import Iterator

from capacity.errors import InputError
from capacity.question.plan import Routing
from capacity.render.deploy.features import Coverage, Feature, counted
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import device_note, header, routing_note

NAME = "compose"
FILE = "compose.yaml"
PLANS = Fleet
COVERS = Coverage(sets={Feature.REPLICAS}, says={Feature.ROUTING})
GPUS_MAX = 16  # largest number in one machine


def render(plan: Fleet) -> str:
    """A service for each GPU, or one with replicas if there are none.

    Raises:
        InputError: more GPUs than a machine has.
    """
    if plan.is_gpu and plan.servers > GPUS_MAX:
        raise InputError(
            f"--target compose runs on one machine, and the plan needs {plan.servers} GPUs (at most {GPUS_MAX}); "
            "use --target kubernetes"
        )
    services = "".join(_gpu_service(plan, number) for number in range(plan.servers))
    return f"""\
{header(plan, NAME, _notes(plan))}\
name: {plan.name}

x-server: &server
  image: {plan.name}:latest # replace: your server with the model
  restart: unless-stopped
  volumes: ["./models:/models:ro"] # replace: the folder with the config.pbtxt of --target triton
  command: [tritonserver, --model-repository=/models]
  healthcheck:
    test: [CMD, curl, --fail, --silent, "http://127.0.0.1:8000/v2/health/ready"]
    interval: 5s
    start_period: {round(plan.startup_s or 60)}s

services:
{services if plan.is_gpu else _replicated(plan)}"""


def _gpu_service(fleet: Fleet, number: int) -> str:
    return f"""\
  {fleet.name}-{number}:
    <<: *server
    networks: {{default: {{aliases: [{fleet.name}]}}}}
    deploy:
      resources:
        reservations:
          devices: [{{driver: nvidia, device_ids: ["{number}"], capabilities: [gpu]}}]
"""


def _replicated(fleet: Fleet) -> str:
    return f"""\
  {fleet.name}:
    <<: *server
    deploy: {{mode: replicated, replicas: {fleet.servers}}}
"""


def _notes(fleet: Fleet) -> Iterator[str]:
    yield f"Clients on this network reach the plan's {counted(fleet.servers, 'server')} as http://{fleet.name}:8000."
    yield from routing_note(fleet, Routing.RANDOM, "Docker's DNS, for each connection,")
    yield from device_note(fleet, "no GPU is reserved")
    if fleet.is_gpu and fleet.servers > 1:
        yield "Each server has a GPU of its own; with `count: 1` all of them would get the first."
