"""Who looks after what is deployed: rules over health checks and Prometheus, each of which yields its complaints."""

from collections.abc import Iterator

from deployment import Documents, flag, health_check


def health_is_checked(found: Documents) -> Iterator[str]:
    service = found["compose"]["services"]["serve-api"]
    checks = {"Dockerfile": health_check(found), "compose.yaml": service["healthcheck"]["test"][1:]}
    for file, check in checks.items():
        if check[:3] != ["python", "-m", "serve_api.health_check"]:
            yield f"{file}: health must be asked by serve_api.health_check"
    if flag(service["healthcheck"]["test"], "--end-hung") != "1" or service["restart"] != "unless-stopped":
        yield "compose must end a server that hangs, which is all that makes Docker start another"


def prometheus_finds_all(found: Documents) -> Iterator[str]:
    scrape = found["prometheus"]["scrape_configs"][0]
    if scrape["static_configs"][0]["targets"][0].split(":")[0] not in found["compose"]["services"]:
        yield "Prometheus must scrape a service of compose"
    mounts = found["compose"]["services"]["prometheus"]["volumes"]
    for file in ["prometheus.yml", *found["prometheus"]["rule_files"]]:
        if f"./{file}:/etc/prometheus/{file}:ro" not in mounts:
            yield f"Prometheus must be given {file}"
    for name, alert in found["alerts"].items():
        if f'job="{scrape["job_name"]}"' not in alert["expr"]:
            yield f"{name} must look at the job that is scraped"


def prometheus_finds_pods(found: Documents) -> Iterator[str]:
    here, there = found["prometheus"], found["prometheus in Kubernetes"]
    (scrape,) = there["scrape_configs"]
    if (scrape["job_name"], there["rule_files"]) != (
        here["scrape_configs"][0]["job_name"],
        here["rule_files"],
    ):
        yield "a cluster must be watched by the same rules, which know the job by its name"
    (pods_of,) = scrape["kubernetes_sd_configs"]
    namespace = found["Namespace"]["metadata"]["name"]
    if (pods_of["role"], pods_of["namespaces"]["names"]) != ("pod", [namespace]):
        yield "pods must be looked for, in the namespace of the service"
    template = found["Deployment"]["spec"]["template"]
    (port,) = template["spec"]["containers"][0]["ports"]
    known = f"{template['metadata']['labels']['app.kubernetes.io/name']};{port['name']}"
    if known not in [rule.get("regex") for rule in scrape["relabel_configs"] if rule.get("action") == "keep"]:
        yield f"pods must be known by name and port, {known}"
    if not {"instance", "namespace", "pod"} <= {
        rule.get("target_label") for rule in scrape["relabel_configs"]
    }:
        yield "alerts name the instance, and the autoscaler's metric is looked up by namespace and pod"
    if any(name.startswith("prometheus.io/") for name in template["metadata"].get("annotations", {})):
        yield "pods must not ask to be scraped a second time, as rates would be twice what they are"
    yield from _sight_of_prometheus(found)


def _sight_of_prometheus(found: Documents) -> Iterator[str]:
    role, binding = found["Role"], found["RoleBinding"]
    if role["rules"] != [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]:
        yield "Prometheus must see pods and nothing else"
    if (binding["roleRef"]["kind"], binding["roleRef"]["name"]) != ("Role", role["metadata"]["name"]):
        yield "the binding must give the role"
    peers = [
        peer["namespaceSelector"]["matchLabels"]
        for peer in found["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    ]
    (subject,) = binding["subjects"]
    if {"kubernetes.io/metadata.name": subject["namespace"]} not in peers:
        yield "the Prometheus that sees pods must be able to reach them"


RULES = (health_is_checked, prometheus_finds_all, prometheus_finds_pods)
