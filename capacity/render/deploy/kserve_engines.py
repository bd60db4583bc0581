"""KServe, for engines: an LLMInferenceService, which brings its own route, gateway and endpoint picker."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.profile.llm import Scheduler
from capacity.render.deploy.engines import Engines, read_engines, require_scheduler
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.header import header_of
from capacity.render.deploy.inference_pool import picker_notes
from capacity.render.deploy.kubernetes_engines import device_notes, image_of

NAME = "kserve"
FILE = "kserve.yaml"
PLANS = SavedPlan
SCHEDULERS = (Scheduler.VLLM_V1,)
COVERS = Coverage(sets={Feature.REPLICAS, Feature.ENGINE, Feature.QUEUE_LIMIT}, says={Feature.ROUTING})


def render(saved: SavedPlan) -> str:
    """An LLMInferenceService with the plan's replicas, and the engine's settings as more arguments of vLLM.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    engines = read_engines(saved)
    tensor = engines.profile.tensor_parallel
    parallel = f"  parallelism: {{tensor: {tensor}}}\n" if tensor > 1 else ""
    given = [one for one in engines.server.flags(saved) if not one.startswith("--tensor-parallel-size")]
    arguments = " ".join(given)
    return f"""\
{header_of(saved, NAME, _notes(engines))}\
apiVersion: serving.kserve.io/v1alpha2 # before KServe 0.17: v1alpha1
kind: LLMInferenceService
metadata:
  name: {engines.name}
spec:
  model:
    uri: {_quoted("hf://" + engines.model)} # replace, if the model is elsewhere: pvc://, s3:// or oci://
    name: {_quoted(engines.model)}
  replicas: {engines.servers} # the plan
{parallel}  router: {{route: {{}}, gateway: {{}}, scheduler: {{}}}}
  template:
    containers:
      - name: main
        image: {image_of(engines)}
        env:
          - name: VLLM_ADDITIONAL_ARGS
            value: {_quoted(arguments)}
{_devices(engines)}"""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _devices(engines: Engines) -> str:
    if engines.resource is None:
        return ""
    return f'        resources: {{limits: {{{engines.resource}: "{engines.profile.devices}"}}}}\n'


def _notes(engines: Engines) -> Iterator[str]:
    yield from engines.notes()
    yield from device_notes(engines)
    yield from picker_notes(engines)
    yield "KServe fetches the model and probes the engines by itself."
