"""The tools that know their form take the deployment files, and refuse them with something wrong in them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployment import DEPLOY, JOBS, MANIFESTS, ROOT, commands, documents

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on PATH; `bash .ci/promtool FOLDER` fetches it on Debian"
)
VERSIONS = ("1.30", "1.37")  # the oldest that has all that is used, and the newest that is known


def run(tool: str, *arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment, or one that is given by its path."""
    program = tool if "/" in tool else str(Path(sys.executable).with_name(tool))
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )


def changed(path: Path, old: str, new: str, folder: Path) -> Path:
    """A copy of a file in a folder with another text in one place."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    copy = folder / path.name
    copy.write_text(text.replace(old, new, 1), encoding="utf-8")
    return copy


def unknown_to_kubernetes(version: str, *paths: Path) -> str:
    """What is wrong with manifests; the tool itself lets a kind pass that it has no schema for."""
    done = run("kubernetes-validate", "-k", version, "--strict", *paths)
    fine = done.returncode == 0 and done.stdout.count(" passed ") == len(paths)
    return "" if fine else done.stdout + done.stderr


def named(path: Path, folder: Path) -> Path:
    """A copy with a name for the one that Kubernetes makes, without which the tool stumbles."""
    copy = folder / path.name
    copy.write_text(re.sub(r"generateName: (\w+)-", r"name: \1", path.read_text("utf-8")), encoding="utf-8")
    return copy


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(version, tmp_path):
    assert (len(MANIFESTS), len(JOBS)) == (9, 3)
    jobs = [named(path, tmp_path) for path in JOBS]
    assert unknown_to_kubernetes(version, *MANIFESTS, *jobs) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("readinessProbe:", "readyProbe:"),
        ("runAsNonRoot: true", "runAsNoRoot: true"),
        ("replicas: 3", "replicas: three"),
        ("apps/v1", "apps/v7"),
    ],
)
def test_kubernetes_refuses_what_it_does_not_know(old, new, tmp_path):
    wrong = changed(DEPLOY / "kubernetes" / "deployment.yaml", old, new, tmp_path)
    assert unknown_to_kubernetes(VERSIONS[-1], wrong)


@pytest.mark.parametrize("file", ["Dockerfile", "models.Dockerfile"])
def test_hadolint_has_no_complaint(file):
    done = run("hadolint", DEPLOY / file)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("FROM ${BASE}\n", "FROM python\n", "DL3006"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("WORKDIR /srv", "WORKDIR srv", "DL3000"),
        ("--no-cache-dir ", "", "DL3042"),
        ('CMD ["python", "-m", "serve_api"', 'CMD python -m ["serve_api"', "DL3025"),
    ],
)
def test_hadolint_would_complain(old, new, code, tmp_path):
    done = run("hadolint", changed(DEPLOY / "Dockerfile", old, new, tmp_path))
    assert done.returncode != 0
    assert code in done.stdout


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    return run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_compose_knows_every_field():
    done = check_compose(DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("old", ["read_only", "mem_limit", "healthcheck"])
def test_compose_refuses_what_it_does_not_know(old, tmp_path):
    assert (
        check_compose(changed(DEPLOY / "compose.yaml", f"    {old}:", f"    {old}s:", tmp_path)).returncode
        != 0
    )


@needs_promtool
@pytest.mark.parametrize("file", ["prometheus.yml", "prometheus-kubernetes.yml"])
def test_prometheus_takes_its_configuration(file):
    done = run(PROMTOOL, "check", "config", "--lint-fatal", file, folder=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(documents()['alerts'])} rules found" in done.stdout


@needs_promtool
def test_alerts_fire_in_trouble_alone():
    done = run(PROMTOOL, "test", "rules", "rules_test.yml", folder=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> 0.1\n", "> 0.2\n"),
        ("[5m])) > 1\n", "[5m])) > 0\n"),
        ("== 1) > 100", "== 1) > 80"),
        ('(up{job="serve-api"} == 1)', '(up{job="serve-api"})'),
        ("deriv(serve_queue_length{job=\"serve-api\"}[5m]) > 0", "deriv(serve_queue_length{job=\"serve-api\"}[5m]) > -1"),
        ("min_over_time", "max_over_time"),
        ("queue_full|", ""),
        ("in_flight|", ""),
        ("connections|", ""),
        ("|deadline", ""),
        ('reason=~"', 'reason!~"'),
        ("[2m])) == 2", "[2m])) >= 1"),
        ("[2m])) == 2", "[2m])) == 3"),
        ('up{job="serve-api"} == 0', 'up{job="serve-api"} == 2'),
        ('status=~"5.."', 'status=~"4.."'),
        ('status=~"5.."', 'status=~"500"'),
        ('status=~"5..', 'status=~"[45]..'),
        ('outcome!="ok"', 'outcome="failed"'),
        ('sum by (version) (rate(serve_batches_total{job="serve-api",outcome', 'sum(rate(serve_batches_total{job="serve-api",outcome'),
        ('max_over_time(serve_model_hung{job="serve-api"}[5m])', 'serve_model_hung{job="serve-api"}'),
        ('serve_model_hung{job="serve-api"}[5m])) == 1', 'serve_model_hung{job="serve-api"}[5m])) == 0'),
        ('[15m]) > 0', '[15m]) > 2'),
        ('outcome="refused"} > 0', 'outcome="refused"} > 1'),
        ('outcome="refused"} > 0', 'outcome="refused"} >= 0'),
        ('unless serve_reloads_total{job="serve-api",outcome="refused"} offset 15m', 'unless vector(1)'),
        (' offset 15m', ' offset 1h'),
        ('role="serving"', 'role=~".+"'),
        ('== 1)) > 1', '== 1)) > 2'),
        ('for: 15m', 'for: 1m'),
        ('absent(up{job="serve-api"})', 'absent(up)'),
    ],
)  # fmt: skip
def test_every_part_of_an_alert_counts(old, new, tmp_path):
    changed(DEPLOY / "rules.yml", old, new, tmp_path)
    shutil.copy(DEPLOY / "rules_test.yml", tmp_path)
    assert run(PROMTOOL, "test", "rules", "rules_test.yml", folder=tmp_path).returncode != 0


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml", "deployment.yaml"])
def test_server_knows_every_flag(file):
    _, module, package, *arguments = commands(documents())[file]
    # Words are read before help is given, so that one that is not known is refused all the same.
    done = run(sys.executable, module, package, *arguments, "--help")
    assert done.returncode == 0, done.stderr
    refused = run(sys.executable, module, package, *arguments, "--no-such-flag=1", "--help")
    assert refused.returncode == 2


@pytest.fixture(scope="module")
def alert_texts() -> str:
    return "".join(alert["expr"] for alert in documents()["alerts"].values())


def test_alerts_look_at_what_the_server_counts(alert_texts):
    from serve_api.metrics import Metrics

    counted = set(re.findall(r"# TYPE (\w+)", Metrics().text().decode()))
    named = {re.sub(r"_(bucket|count)$", "", name) for name in re.findall(r"\bserve_\w+", alert_texts)}
    assert len(named) >= 5
    assert named <= counted


def test_alerts_name_reasons_that_the_server_gives(alert_texts):
    from serve_api.refusal import Reason

    (reasons,) = re.findall(r'reason=~"([\w|]+)"', alert_texts)
    assert set(reasons.split("|")) <= set(Reason)


def test_how_to_names_keys_that_a_plan_has():
    from capacity.plan import Plan

    text = (ROOT / "docs" / "how-to" / "deploy-the-service.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`recommendation\.(\w+)`", text))
    assert named >= {"replicas", "batch_size_max", "batch_wait_max_s", "queue_limit"}
    assert named <= set(Plan.__dataclass_fields__)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_run_commands_that_there_are(path):
    (container,) = documents()["jobs"][path.stem]["spec"]["template"]["spec"]["containers"]
    _, *words = [*container["command"], *container["args"]]
    assert run(sys.executable, *words, "--help").returncode == 0
    assert run(sys.executable, *words, "--no-such-flag=1", "--help").returncode == 2


def test_the_autoscaler_s_metric_is_of_the_job_that_is_scraped():
    """Of the same requests scraped by two jobs the rate would be twice what it is."""
    text = (ROOT / "docs" / "how-to" / "deploy-the-service.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(rules:\n.*?)```", text, re.DOTALL)
    (rule,) = yaml.safe_load(found)["rules"]
    scrape = documents()["prometheus in Kubernetes"]["scrape_configs"][0]
    metric = documents()["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert rule["name"]["as"] == metric
    assert f'job="{scrape["job_name"]}"' in rule["seriesQuery"]
    assert f'job="{scrape["job_name"]}"' in rule["metricsQuery"]
    labels = set(re.findall(r'(\w+)!=""', rule["seriesQuery"]))
    assert labels == {"namespace", "pod"}
    assert labels <= {relabel.get("target_label") for relabel in scrape["relabel_configs"]}


def test_how_to_names_files_that_there_are():
    text = (ROOT / "docs" / "how-to" / "deploy-the-service.md").read_text(encoding="utf-8")
    named = set(re.findall(r"serve_api/deploy/[\w./-]*\w", text))
    assert {"serve_api/deploy/jobs/publish.yaml", "serve_api/deploy/prometheus-kubernetes.yml"} <= named
    assert all((ROOT / name).exists() for name in named), named
