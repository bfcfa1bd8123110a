"""One machine: the server with PostgreSQL for its predictions, and Prometheus and Grafana, which show how it is."""

from __future__ import annotations

import secrets
from typing import Any

from flambeau.deployment.plan import STATE, TARGETS, Files, Plan, Target
from flambeau.deployment.text import dashboard, header, table

POSTGRES, PROMETHEUS, GRAFANA = "postgres:17-alpine", "prom/prometheus:v3.5.0", "grafana/grafana:12.1.0"
HARDENED: dict[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"],
                            "restart": "unless-stopped"}  # fmt: skip


def compose(plan: Plan) -> Files:
    """compose.yaml as https://github.com/compose-spec/compose-spec has it, and what its services read."""
    server: dict[str, Any] = {
        "image": plan.image, "build": {"context": "."}, **HARDENED,
        "command": [*plan.command(), "--log-inputs"],
        "environment": {
            "FLAMBEAU_LOG": "postgresql://flambeau:${POSTGRES_PASSWORD:?see .env}@postgres/flambeau",
            "OMP_NUM_THREADS": str(plan.cpus),
        },
        "ports": [f"127.0.0.1:{plan.port}:{plan.port}"],
        "tmpfs": ["/tmp"], "volumes": [f"state:{STATE}"],
        "mem_limit": f"{plan.limit}m", "cpus": plan.cpus, "stop_grace_period": f"{plan.grace}s",
        "depends_on": {"postgres": {"condition": "service_healthy"}},
    }  # fmt: skip
    postgres = {
        "image": POSTGRES, "restart": "unless-stopped", "security_opt": ["no-new-privileges:true"],
        "environment": {"POSTGRES_USER": "flambeau", "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?see .env}"},
        "volumes": ["predictions:/var/lib/postgresql/data"],
        "healthcheck": {"test": ["CMD", "pg_isready", "-U", "flambeau"], "interval": "5s", "retries": 12},
    }  # fmt: skip
    prometheus = {
        "image": PROMETHEUS, **HARDENED,
        "command": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus",
                    "--storage.tsdb.retention.time=30d"],
        "volumes": ["./prometheus.yml:/etc/prometheus/prometheus.yml:ro", "metrics:/prometheus"],
        "ports": ["127.0.0.1:9090:9090"],
    }  # fmt: skip
    grafana = {
        "image": GRAFANA, **HARDENED,
        "environment": {"GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_PASSWORD:?see .env}", "GF_ANALYTICS_ENABLED": "false",
                        "GF_ANALYTICS_REPORTING_ENABLED": "false", "GF_ANALYTICS_CHECK_FOR_UPDATES": "false"},
        "tmpfs": ["/tmp"],
        "volumes": ["./grafana/provisioning:/etc/grafana/provisioning:ro",
                    "./grafana/dashboards:/etc/grafana/dashboards:ro", "dashboards:/var/lib/grafana"],
        "ports": ["127.0.0.1:3000:3000"], "depends_on": ["prometheus"],
    }  # fmt: skip
    document = {
        "name": plan.name,
        "services": {plan.name: server, "postgres": postgres, "prometheus": prometheus, "grafana": grafana},
        "volumes": {name: {} for name in ("state", "predictions", "metrics", "dashboards")},
    }
    about = [f"{plan.name}, version {plan.version}: docker compose up --build --detach",
             f"the server at http://127.0.0.1:{plan.port}, Prometheus at 9090, Grafana (admin) at 3000"]  # fmt: skip
    return {
        "compose.yaml": header(about) + table(document),
        ".env": f"POSTGRES_PASSWORD={secrets.token_urlsafe(24)}\nGRAFANA_PASSWORD={secrets.token_urlsafe(24)}\n",
        "prometheus.yml": table(scraping(plan)),
        **grafana_files("http://prometheus:9090"),
    }


def scraping(plan: Plan) -> dict[str, Any]:
    """What Prometheus reads, and how often."""
    job = {"job_name": "flambeau", "static_configs": [{"targets": [f"{plan.name}:{plan.port}"]}]}
    return {"global": {"scrape_interval": "15s"}, "scrape_configs": [job]}


def grafana_files(prometheus: str) -> Files:
    """Where Grafana finds the figures and the page that shows them."""
    source = {"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "access": "proxy", "url": prometheus,
              "isDefault": True}  # fmt: skip
    provider = {"name": "flambeau", "type": "file", "options": {"path": "/etc/grafana/dashboards"}}
    return {
        "grafana/provisioning/datasources/prometheus.yml": table({"apiVersion": 1, "datasources": [source]}),
        "grafana/provisioning/dashboards/flambeau.yml": table({"apiVersion": 1, "providers": [provider]}),
        "grafana/dashboards/flambeau.json": dashboard(),
    }


TARGETS.register("compose")(
    Target(compose, lambda plan: ["docker compose --project-directory {out} up --build --detach"])
)
