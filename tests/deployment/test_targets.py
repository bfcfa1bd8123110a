"""What is written for Docker, compose, Kubernetes, KServe and systemd is of their grammar, by their own schemas."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from forkserver import Forkserver

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.deployment import TARGETS, Plan
from flambeau.deployment.docker import dockerfile
from flambeau.deployment.making import SERVED, Deployment

VERSIONS = ("1.29", "1.33", "1.36")
"""Of Kubernetes: of some years ago, and new."""


def linted(text: str, folder: Path) -> list[str]:
    """What hadolint finds in a Dockerfile."""
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        pytest.skip("hadolint is not installed")
    (folder / "Dockerfile").write_text(text)
    done = subprocess.run([program, "--format", "json", folder / "Dockerfile"], capture_output=True, text=True)
    return [f"{one['code']} {one['message']}" for one in json.loads(done.stdout)]


def test_the_dockerfile_has_no_fault_that_a_linter_knows(composed: dict[str, Any], plan: Plan, tmp_path: Path) -> None:
    inside, fetched = (Path(composed["out"]) / "Dockerfile").read_text(), dockerfile(plan)["Dockerfile"]
    assert linted(inside, tmp_path) == linted(fetched, tmp_path) == []
    assert linted("FROM python\nRUN cd /x && pip install torch\n", tmp_path), "the linter sees faults"
    assert "COPY model /srv/model" in inside and "COPY model" not in fetched
    for text in (inside, fetched):
        final = text.rpartition("\nFROM ")[2]
        assert "\nUSER 10001:10001\n" in final and "HEALTHCHECK" in final and "\nRUN " not in final
    command = json.loads(re.findall(r"(?m)^CMD (.*)$", fetched)[0])
    assert command[:2] == ["flambeau", "serve"]
    assert re.fullmatch(r"small=s3://models/small\.tar\.gz#sha256=[0-9a-f]{64}", command[2])


def test_the_compose_file_is_of_the_compose_specification(composed: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("check_jsonschema")
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    out = Path(composed["out"])
    document = yaml.safe_load((out / "compose.yaml").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    broken = {**document, "services": {"a": {"image": "a", "read_only": "perhaps", "mem_limits": "1g"}}}
    assert not validator.is_valid(broken), "the schema sees faults"
    services = document["services"]
    assert services.keys() == {"small-run", "postgres", "prometheus", "grafana"}
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (out / source).exists() if source.startswith("./") else source in document["volumes"], volume
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    # each secret that is asked for is there, and nobody else reads it
    asked = {*re.findall(r"\$\{(\w+)", (out / "compose.yaml").read_text())}
    given = dict(line.split("=", 1) for line in (out / ".env").read_text().splitlines())
    assert asked == {*given} and all(len(value) >= 24 for value in given.values())
    assert (out / ".env").stat().st_mode & 0o077 == 0 and ".env" not in (out / ".dockerignore").read_text()
    (job,) = yaml.safe_load((out / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["small-run:8000"]}]
    command = services["small-run"]["command"]
    assert command[command.index("--port") + 1] == "8000" and job.get("metrics_path", "/metrics") == "/metrics"


def test_grafana_finds_prometheus_and_the_dashboard_its_figures(composed: dict[str, Any]) -> None:
    out = Path(composed["out"])
    services = yaml.safe_load((out / "compose.yaml").read_text())["services"]
    provisioning = out / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "flambeau.yml").read_text())["providers"]
    mounted = dict(reversed(volume.split(":")[:2]) for volume in services["grafana"]["volumes"])
    assert mounted["/etc/grafana/provisioning"] == "./grafana/provisioning"
    place = out / mounted[provider["options"]["path"]]
    (file,) = place.iterdir()
    board = json.loads(file.read_text())
    scheme, host, port = source["url"].split(":")
    assert scheme == "http" and host.strip("/") in services and source["isDefault"]
    assert any(entry.endswith(f":{port}") for entry in services[host.strip("/")]["ports"])
    # the panels ask the source that a variable of the dashboard names, which is of the kind that is provided
    variables = {one["name"]: one for one in board["templating"]["list"]}
    panels = [one for one in (*board["panels"], *variables.values()) if one["type"] not in ("row", "datasource")]
    assert len(panels) > 10 and {json.dumps(one["datasource"]) for one in panels} == {
        json.dumps({"type": source["type"], "uid": "${datasource}"})
    }
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", source["type"])
    # and by no label or variable that is not there; the names of the figures are held against a server in test_metrics
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    used = {name for query in queries for name in re.findall(r"\$(\w+)", query) if not name.startswith("__")}
    assert used <= variables.keys()


def documents(plan: Plan, target: str = "kubernetes") -> list[dict[str, Any]]:
    text = TARGETS[target].files(plan)[f"{target}.yaml"]
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("scale_by", ["cpu", "queue"])
def test_manifests_are_of_kubernetes_own_schemas(plan: Plan, scale_by: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    made = documents(dataclasses.replace(plan, scale_by=scale_by))
    kinds = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"]
    assert [one["kind"] for one in made] == kinds
    for version in VERSIONS:
        for document in made:
            kubernetes_validate.validate(document, version, strict=True)
    broken = json.loads(json.dumps(made[0]))
    broken["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = "eighty"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_servers_are_replaced_without_a_request_lost_and_may_do_little(plan: Plan) -> None:
    deployment, service, autoscaler, budget, policy = documents(plan)
    spec = deployment["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0 and "replicas" not in spec
    pod = spec["template"]["spec"]
    (server,) = pod["containers"]
    # what is sent to a server that is taken away is answered: it waits, stops, and is given the time for both
    waits = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + plan.limits.timeout
    slow = documents(dataclasses.replace(plan, slow=True))[0]["spec"]["template"]["spec"]
    assert slow["terminationGracePeriodSeconds"] > waits + plan.limits.text_timeout
    assert [server[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")] == [
        "/readyz", "/readyz", "/healthz"]  # fmt: skip
    assert server["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
    assert {mount["name"] for mount in server["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    # what is marked is what is looked for
    labels = spec["template"]["metadata"]["labels"].items()
    selectors = [spec["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    for selector in [service["spec"]["selector"], *(one["matchLabels"] for one in selectors)]:
        assert selector.items() <= labels
    assert service["spec"]["ports"][0]["targetPort"] == server["ports"][0]["name"]
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"] == "small"
    assert (autoscaler["spec"]["minReplicas"], server["resources"]["requests"]["cpu"]) == (3, "2")
    assert server["image"] == "registry.example/team/small:1" and "8080" in server["args"]
    out = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert out == [53, 53, 5432, 443]
    inside = documents(dataclasses.replace(plan, address=None))[4]
    assert [p["port"] for rule in inside["spec"]["egress"] for p in rule["ports"]] == [53, 53, 5432]


def test_memory_is_what_was_measured_and_what_requests_may_take(plan: Plan) -> None:
    assert 100 < plan.request < 2000  # torch alone takes over a hundred
    assert plan.request * 2**20 >= plan.measured
    assert plan.limit * 2**20 >= plan.measured + plan.limits.max_memory + plan.limits.max_decoding


def test_an_inference_service_holds_a_pod_and_what_kserve_says_beside_it(plan: Plan) -> None:
    """KServe's own models are asked in tests/extras: its package does not go with the others'."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    (document,) = documents(plan, "kserve")
    assert (document["apiVersion"], document["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = document["spec"]["predictor"]
    own = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
    assert own <= predictor.keys() and predictor["containers"][0]["name"] == "kserve-container"
    spec = {name: value for name, value in predictor.items() if name not in own}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": spec}, VERSIONS[0], strict=True
    )


def test_a_service_of_systemd_is_verified_and_exposes_little(plan: Plan, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    made = TARGETS["systemd"].files(dataclasses.replace(plan, address=None, plugins=("own part.py",)))
    unit = tmp_path / "small.service"
    # which must be there to be verified
    command = Path("/opt/small/venv/bin/flambeau")
    unit.write_text(made["small.service"].replace(str(command), sys.executable))
    done = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "small.service" in line]
    assert done.returncode == 0 and ours == []
    unit.write_text(unit.read_text().replace("ProtectClock=yes", "ProtectClok=yes"))
    done = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True)
    assert "ProtectClok" in done.stderr, "it sees faults"
    unit.write_text(made["small.service"])
    asked = [program, "security", "--offline=true", "--threshold=20", unit]  # of 100; a service without settings has 96
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f"ExecStart={command} serve small=/opt/small/model --host 127.0.0.1 --port 8080" in made["small.service"]
    assert (
        '"/opt/small/plugins/own part.py"' in made["small.service"] and "SuccessExitStatus=143" in made["small.service"]
    )
    script = made["install.sh"]
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    assert f'pip" install --no-cache-dir --no-deps --force-reinstall ./{plan.wheel}\n' in script


def test_what_is_written_holds_what_serving_needs_and_no_data(deployment: Deployment, composed: dict[str, Any]) -> None:
    out = Path(composed["out"])
    assert {path.name for path in (out / "model").iterdir()} == {
        "recipe.yaml", "fields.json", "model.safetensors", "examples.json", "evaluation.json"}  # fmt: skip
    pins = (out / "constraints.txt").read_text().split()
    assert any(pin.startswith("torch==") for pin in pins) and any(pin.startswith("fastapi==") for pin in pins)
    assert not any(pin.startswith("pytest==") for pin in pins)
    assert deployment.archive is not None and not (deployment.out / "model").exists()
    assert deployment.next[0] == f"aws s3 cp {deployment.archive} s3://models/small.tar.gz"


def test_a_folder_is_made_anew_with_its_passwords_and_without_what_lies_in_the_run(
    small_run: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("deploy"))
    for name in ("watch.prom", "predictions.db"):
        (run / name).write_text("secret")
    before = os.umask(0o077)
    try:
        first = fb.deploy(run, "compose", out)
        (out / ".env").write_text("POSTGRES_PASSWORD=mine\n")
        (out / "prometheus.yml").unlink()
        fb.deploy(run, "compose", out, overwrite=True)
    finally:
        os.umask(before)
    assert (out / ".env").read_text() == "POSTGRES_PASSWORD=mine\n" and (out / "prometheus.yml").exists()
    assert {path.name for path in (out / "model").iterdir()} <= {*SERVED}
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))}
    assert modes.pop(out / ".env") == 0o600
    assert all(mode == (0o755 if path.is_dir() else 0o644) for path, mode in modes.items())
    assert ".env" in first.files


def test_two_plug_ins_of_one_name_are_refused(flambeau: Forkserver, small_run: Path, tmp_path: Path) -> None:
    words = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").touch()
        words += ["--plugin", tmp_path / folder / "own.py"]
    refused = flambeau("deploy", small_run, "--target", "docker", "--out", "out", *words, cwd=tmp_path)
    assert refused.status == 2 and "two plug-ins are called own.py" in refused.told
    assert not (tmp_path / "out").exists()


def test_the_health_check_asks_no_proxy(plan: Plan) -> None:
    check = json.loads(re.findall(r"(?m)^    CMD (.*)$", dockerfile(plan)["Dockerfile"])[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = check[2].replace(f":{plan.port}/", f":{listener.getsockname()[1]}/")
        asking = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "http_proxy": "http://127.0.0.1:9"})
        listener.settimeout(60)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1024).startswith(b"GET /readyz ")
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        assert asking.wait(60) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--target", "dokcer"], "no target of a deployment is called 'dokcer'; did you mean 'docker'?"),
        (["--target", "compose"], "a deployment lies there already; say --overwrite"),
        (["--target", "docker", "--out", "{run}"], "something lies there already; give another folder"),
        (["--target", "docker", "--name", "A b"], "the name 'A b' does not fit"),
        (["--target", "docker", "--image", "Photos!"], "'Photos!' is no name of an image"),
        (["--target", "docker", "--port", "80"], "port 80 does not fit; expected 1024 to 65535"),
        (["--target", "docker", "--scale-by", "queue"], "told to Kubernetes only"),
        (["--target", "docker", "--model-at", "ftp://a/b.tar"], "nothing is fetched by ftp://"),
        (["--target", "docker", "--model-at", "s3://a/b.bin"], "this is no archive of a run"),
        (["--target", "docker", "--model-at", "b.tar"], "'b.tar' is no address"),
    ],
)
def test_what_cannot_be_deployed_is_told_in_a_line(
    given: list[str], told: str, small_run: Path, composed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(small_run.rglob("*"))
    words = [word.replace("{run}", str(small_run)) for word in given]
    assert command(["deploy", str(small_run), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert told in said[-1] and len(said) <= 2
    assert sorted(small_run.rglob("*")) == before, "nothing is left of it"
