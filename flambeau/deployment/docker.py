"""Images: a Dockerfile of two stages, for a server that is nobody and writes into two folders alone."""

from __future__ import annotations

from flambeau.deployment.plan import HOME, MODEL, STATE, TARGETS, USER, Files, Plan, Target, words

READY = (
    "import urllib.request as web; "
    "web.build_opener(web.ProxyHandler({{}})).open('http://127.0.0.1:{port}/readyz', timeout=4)"
)
"""Without the proxies of its environment, which are for the way out."""
TORCH = ("# PyTorch's builds for CPUs; PyPI's bring CUDA with them",
         "ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu")  # fmt: skip
IGNORED = "*\n!*.whl\n!constraints.txt\n!model\n!plugins\n"


def dockerfile(plan: Plan) -> Files:
    """Dockerfile and .dockerignore; see https://docs.docker.com/reference/dockerfile."""
    base = f"python:{plan.python}-slim-bookworm"
    pip = f"{HOME}/bin/pip install --no-cache-dir"
    lines = [
        f"# {plan.name}, version {plan.version}: docker build -t {plan.image} .",
        f"# docker run --read-only --tmpfs /tmp --tmpfs {STATE}:uid={USER} -p 127.0.0.1:{plan.port}:{plan.port} "
        f"{plan.image}",
        f"FROM {base} AS build",
        *(TORCH if plan.torch else []),
        "WORKDIR /build",
        "COPY constraints.txt *.whl ./",
        f"RUN python -m venv {HOME} \\",
        *([f"    && {pip} --index-url \"$TORCH_INDEX\" {' '.join(plan.torch)} \\"] if plan.torch else []),
        f"    && {pip} -c constraints.txt {' '.join(_quoted(one) for one in plan.installs)} \\",
        "    && mkdir -p /state",
        "",
        f"FROM {base}",
        f'LABEL org.opencontainers.image.title="{plan.name}" org.opencontainers.image.version="{plan.version}"',
        f"COPY --from=build {HOME} {HOME}",
        f"COPY --from=build --chown={USER}:{USER} /state {STATE}",
        *([f"COPY model {MODEL}"] if plan.address is None else []),
        *([f"COPY plugins {HOME}/plugins"] if plan.plugins else []),
        f"ENV PATH={HOME}/bin:$PATH HOME={STATE} USER=flambeau PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1",
        f"WORKDIR {STATE}",
        f"USER {USER}:{USER}",
        f"EXPOSE {plan.port}",
        "HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \\",
        f"    CMD {words(['python', '-c', READY.format(port=plan.port)])}",
        f"CMD {words(plan.command())}",
        "",
    ]  # fmt: skip
    return {"Dockerfile": "\n".join(lines), ".dockerignore": IGNORED}


def _quoted(requirement: str) -> str:
    return f'"{requirement}"' if "[" in requirement else requirement


def build(plan: Plan) -> list[str]:
    """The command that makes the image."""
    return [f"docker build -t {plan.image} {{out}}"]


def _next(plan: Plan) -> list[str]:
    return [*build(plan), f"docker run --read-only --tmpfs /tmp --tmpfs {STATE}:uid={USER} "
            f"-p 127.0.0.1:{plan.port}:{plan.port} {plan.image}"]  # fmt: skip


TARGETS.register("docker")(Target(lambda plan: {}, _next))
