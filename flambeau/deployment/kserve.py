"""KServe: an InferenceService of the server, which speaks the Open Inference Protocol, version 2."""

from __future__ import annotations

from typing import Any

from flambeau.deployment.docker import build
from flambeau.deployment.kubernetes import BUSY, MOST, pod
from flambeau.deployment.plan import TARGETS, Files, Plan, Target
from flambeau.deployment.text import header, table


def kserve(plan: Plan) -> Files:
    """kserve.yaml: an InferenceService with a container of its own; see
    https://kserve.github.io/website/docs/reference/crd-api."""
    predictor: dict[str, Any] = {
        "minReplicas": plan.replicas, "maxReplicas": MOST * plan.replicas, "scaleMetric": "cpu", "scaleTarget": BUSY,
        **pod(plan, "kserve-container"),
    }  # fmt: skip
    document = {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": plan.name, "labels": plan.labels,
                     # plain Deployments: Knative allows no startupProbe and no preStop
                     "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
        "spec": {"predictor": predictor},
    }  # fmt: skip
    about = [f"{plan.name}, version {plan.version}: kubectl apply -f kserve.yaml",
             f"POST …/v2/models/{plan.name}/infer"]  # fmt: skip
    return {"kserve.yaml": header(about) + table(document)}


TARGETS.register("kserve")(
    Target(kserve, lambda plan: [*build(plan), f"docker push {plan.image}", "kubectl apply -f {out}/kserve.yaml"])
)
