"""Kubernetes: servers behind one address, replaced one after another without a request lost."""

from __future__ import annotations

from typing import Any

from flambeau.deployment.docker import build
from flambeau.deployment.plan import DRAIN, STATE, TARGETS, USER, Files, Plan, Target
from flambeau.deployment.text import header, table

QUEUE = "flambeau_queue_inputs"
"""The gauge of inputs that wait or are computed."""
MOST = 4
"""So many times the replicas there may be where much is asked."""
BUSY = 70
"""Per cent of the asked cores above which there are more servers."""
WAITING = 16
"""Inputs that wait for a server above which there are more: half of a largest batch."""
KEYS = ("FLAMBEAU_API_KEYS", "FLAMBEAU_ADMIN_KEYS", "FLAMBEAU_LOG")


def container(plan: Plan, name: str) -> dict[str, Any]:
    """The server's container: nobody's, on a read-only root, without a capability."""
    probe = {"httpGet": {"path": "/readyz", "port": plan.port}}
    return {
        "name": name, "image": plan.image, "args": plan.command(),
        "ports": [{"name": "http", "containerPort": plan.port}],
        "envFrom": [{"secretRef": {"name": plan.name, "optional": True}}],
        "env": [{"name": "OMP_NUM_THREADS", "value": str(plan.cpus)}],
        "resources": {"requests": {"cpu": str(plan.cpus), "memory": f"{plan.request}Mi"},
                      "limits": {"memory": f"{plan.limit}Mi"}},
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": plan.port}, "periodSeconds": 10, "timeoutSeconds": 10,
                          "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(DRAIN)]}}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "state", "mountPath": STATE}, {"name": "tmp", "mountPath": "/tmp"}],
    }  # fmt: skip


def pod(plan: Plan, name: str) -> dict[str, Any]:
    """What runs a server."""
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": plan.grace,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container(plan, name)],
        "volumes": [{"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }  # fmt: skip


def kubernetes(plan: Plan) -> Files:
    """kubernetes.yaml: Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget, NetworkPolicy; see
    https://kubernetes.io/docs/reference/kubernetes-api."""
    keys = " ".join(f"--from-literal={key}=…" for key in KEYS)
    about = [f"{plan.name}, version {plan.version}: kubectl apply -f kubernetes.yaml",
             f"Keys and the log of predictions are in the Secret {plan.name}, which need not be there:",
             f"kubectl create secret generic {plan.name} {keys}"]  # fmt: skip
    if plan.scale_by == "queue":
        about += [f"The cluster must know the gauge {QUEUE} of pods: by Prometheus Adapter, see adapter.yaml"]
    documents = [_deployment(plan), _service(plan), _autoscaler(plan), _budget(plan), _policy(plan)]
    files = {"kubernetes.yaml": header(about) + "---\n".join(table(document) for document in documents)}
    if plan.scale_by == "queue":
        files["adapter.yaml"] = header(["helm upgrade … prometheus-community/prometheus-adapter -f adapter.yaml"])
        files["adapter.yaml"] += table({"rules": {"custom": [{
            "seriesQuery": f'{QUEUE}{{namespace!="",pod!=""}}',
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        }]}})  # fmt: skip
    return files


def _head(plan: Plan, version: str, kind: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": plan.name, "labels": plan.labels}}


def _deployment(plan: Plan) -> dict[str, Any]:
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
              "labelSelector": {"matchLabels": plan.selector}}  # fmt: skip
    labels = {**plan.labels, "app.kubernetes.io/version": plan.version}
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(plan.port), "prometheus.io/path": "/metrics"}
    return {
        **_head(plan, "apps/v1", "Deployment"),
        # how many there are is the autoscaler's to say
        "spec": {
            "selector": {"matchLabels": plan.selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels, "annotations": scraped},
                         "spec": {**pod(plan, "server"), "topologySpreadConstraints": [spread]}},
        },
    }  # fmt: skip


def _service(plan: Plan) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {**_head(plan, "v1", "Service"), "spec": {"selector": plan.selector, "ports": ports}}


def _autoscaler(plan: Plan) -> dict[str, Any]:
    by_cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY}},
    }
    by_queue = {"type": "Pods", "pods": {"metric": {"name": QUEUE},
                                         "target": {"type": "AverageValue", "averageValue": str(WAITING)}}}  # fmt: skip
    return {
        **_head(plan, "autoscaling/v2", "HorizontalPodAutoscaler"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": plan.name},
            "minReplicas": plan.replicas, "maxReplicas": MOST * plan.replicas,
            "metrics": [by_queue if plan.scale_by == "queue" else by_cpu],
            # a model that is loaded stays for five minutes after it was needed
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }  # fmt: skip


def _budget(plan: Plan) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": plan.selector}}
    return {**_head(plan, "policy/v1", "PodDisruptionBudget"), "spec": spec}


def _policy(plan: Plan) -> dict[str, Any]:
    """Asked by whoever is in the cluster; asks names, PostgreSQL, and where it is fetched, the model's store."""
    dns = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
    out = [dns, {"ports": [{"protocol": "TCP", "port": 5432}]}]
    if plan.address is not None and plan.address.scheme != "file":
        out.append({"ports": [{"protocol": "TCP", "port": plan.address.port}]})
    inward = [{"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": plan.port}]}]
    return {**_head(plan, "networking.k8s.io/v1", "NetworkPolicy"),
            "spec": {"podSelector": {"matchLabels": plan.selector}, "policyTypes": ["Ingress", "Egress"],
                     "ingress": inward, "egress": out}}  # fmt: skip


TARGETS.register("kubernetes")(
    Target(
        kubernetes, lambda plan: [*build(plan), f"docker push {plan.image}", "kubectl apply -f {out}/kubernetes.yaml"]
    )
)
