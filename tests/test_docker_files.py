"""What containers are run with says what is: settings, metrics, places; and their own tools find it well-formed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from service_world import settings_for

from base.reading import only_reads
from service.app import create_app
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
OF_THE_IMAGE = {"data", "host", "port"}
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields if name not in OF_THE_IMAGE}
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
DASHBOARD = json.loads((DOCKER / "grafana" / "glimpse.json").read_text())
MANIFEST = {
    document["kind"]: document for document in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())
}  # of two claims the last


def test_every_setting_can_be_given_to_compose_and_is_documented() -> None:
    given = {name for name in COMPOSE["glimpse"]["environment"] if name.startswith(PREFIX)}
    assert given == SETTINGS
    page = (ROOT / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(GLIMPSE_\w+)`", page, flags=re.MULTILINE))
    assert documented >= SETTINGS
    used = set(re.findall(r"\$\{(GLIMPSE_\w+)", (DOCKER / "compose.yaml").read_text()))
    assert documented == SETTINGS | used


def test_the_service_starts_without_a_profile_and_alone() -> None:
    assert [name for name, service in COMPOSE.items() if "profiles" not in service] == ["glimpse"]


def test_the_image_of_another_service_is_pinned() -> None:
    for name in ("prometheus", "grafana", "proxy", "milvus"):
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", COMPOSE[name]["image"])


def test_the_cluster_has_a_head_and_workers_that_see_the_same_folders() -> None:
    head, worker = COMPOSE["ray-head"], COMPOSE["ray-worker"]
    assert {name for name in worker if worker[name] != head.get(name)} == {"command", "depends_on", "scale"}
    assert set(head["volumes"]) == set(COMPOSE["glimpse"]["volumes"])
    assert worker["command"] == ["--address=ray-head:6379"]
    for name in ("user", "read_only", "cap_drop", "security_opt"):  # the doors that the service closes
        assert head[name] == COMPOSE["glimpse"][name]


# --- two services behind a proxy ---


def test_the_second_service_is_the_first_once_more() -> None:
    first, second = COMPOSE["glimpse"], COMPOSE["glimpse-2"]
    assert {name for name in second if second[name] != first.get(name)} == {"ports", "profiles"}
    assert second["ports"] == []
    assert "data:/data" in second["volumes"]


def test_the_proxy_asks_the_services_that_there_are_and_again_what_only_reads(tmp_path: Path) -> None:
    conf = (DOCKER / "nginx.conf").read_text()
    assert set(re.findall(r"server ([\w-]+):8000", conf)) == {"glimpse", "glimpse-2"}
    assert "./nginx.conf:/etc/nginx/conf.d/default.conf:ro" in COMPOSE["proxy"]["volumes"]
    (reads,) = re.findall(r"location ~ (\^\S+\$) \{", conf)
    for path in create_app(settings_for(tmp_path)).openapi()["paths"]:
        asked = re.sub(r"\{\w+\}", "x", path)
        assert bool(re.fullmatch(reads, asked)) == only_reads("POST", asked), path


# --- Kubernetes ---


def test_the_manifest_is_what_kubernetes_takes() -> None:
    for document in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**MANIFEST["Deployment"], "spec": {"replicas": "one"}}, "1.30", strict=True)


def test_the_manifest_is_of_one_piece() -> None:
    spec = MANIFEST["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    claims = {
        document["metadata"]["name"]
        for document in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())
        if document["kind"] == "PersistentVolumeClaim"
    }
    assert {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v} == claims
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/data", "/models", "/tmp"}
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == MANIFEST["Service"]["spec"]["selector"] == labels
    assert {v["name"] for v in container["env"] if v["name"].startswith(PREFIX)} <= SETTINGS
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")} == {"/health/ready"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_kubernetes_and_compose_close_the_same_doors() -> None:
    pod = MANIFEST["Deployment"]["spec"]["template"]["spec"]
    here, there = COMPOSE["glimpse"], pod["containers"][0]["securityContext"]
    assert (there["readOnlyRootFilesystem"], there["allowPrivilegeEscalation"]) == (True, False)
    assert (here["read_only"], here["security_opt"]) == (True, ["no-new-privileges:true"])
    assert here["cap_drop"] == there["capabilities"]["drop"] == ["ALL"]
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert here["user"] == f"${{GLIMPSE_USER:-{user}}}"
    assert f"USER {user}" in (DOCKER / "Dockerfile").read_text()
    assert here["stop_grace_period"] == f"{pod['terminationGracePeriodSeconds']}s"


# --- Prometheus and Grafana ---


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_alerts_look_at_what_the_dashboard_shows() -> None:
    """That those are metrics which are there is tested with the metrics."""
    rules = yaml.safe_load((DOCKER / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    named = re.findall(r"\b(?:glimpse|process)_[a-z_]+", " ".join(rule["expr"] for rule in rules))
    assert named
    assert set(named) <= set(re.findall(r"\b(?:glimpse|process)_[a-z_]+", " ".join(expressions())))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "--syntax-only", DOCKER / "prometheus" / "prometheus.yaml"),
        ("check", "rules", DOCKER / "prometheus" / "alerts.yaml"),
        ("test", "rules", ROOT / "tests" / "prometheus_alerts.yaml"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_prometheus_takes_its_files(words: tuple[Any, ...]) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_find_their_way() -> None:
    """From the service to Prometheus, from there to Grafana, and the dashboard to where Grafana looks for it."""
    (scraped,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": ["glimpse:8000"]}]
    (key,) = COMPOSE["prometheus"]["configs"]
    assert scraped["authorization"] == {"credentials_file": key["target"]}
    provisioning = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "glimpse.yaml").read_text())["providers"]
    mounted = {place: DOCKER / here for here, place, *_ in (v.split(":") for v in COMPOSE["grafana"]["volumes"])}
    assert mounted["/etc/grafana/provisioning"] == provisioning
    assert mounted[f"{provider['options']['path']}/glimpse.json"].is_file()


def test_the_panels_of_the_dashboard_are_whole_and_apart() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$(\w+)", " ".join(expressions()))) <= variables
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
        assert not (across and down), f"{one} and {other} overlap"
