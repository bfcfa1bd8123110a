"""Servers of a run elsewhere: all that images, clusters and services are made from, and models that are fetched."""

from flambeau.deployment import compose, docker, kserve, kubernetes, systemd
from flambeau.deployment.fetching import Address, fetch
from flambeau.deployment.making import Deployment, Wishes, deploy
from flambeau.deployment.plan import TARGETS, Plan, Target

__all__ = ["TARGETS", "Address", "Deployment", "Plan", "Target", "Wishes", "compose", "deploy", "docker", "fetch",
           "kserve", "kubernetes", "systemd"]  # fmt: skip
