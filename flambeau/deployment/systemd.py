"""systemd: a service of one machine without containers, in which the server is nobody and may do next to nothing."""

from __future__ import annotations

import shlex

from flambeau.deployment.plan import TARGETS, Files, Plan, Target

PLACE = "/opt"
UNIT = """# {name}, version {version}; see systemd.exec(5)
[Unit]
Description=Flambeau: the model {name}
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart={command}
# keys and the log of predictions, where there are some: FLAMBEAU_API_KEYS, FLAMBEAU_ADMIN_KEYS, FLAMBEAU_LOG
EnvironmentFile=-/etc/{name}.env
Environment=HOME=%S/{name} USER={name} OMP_NUM_THREADS={cpus} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
StateDirectory={name}
WorkingDirectory=%S/{name}
# answers that are being computed are given before it ends, by SIGTERM, in status 143
KillSignal=SIGTERM
SuccessExitStatus=143
TimeoutStopSec={grace}
Restart=on-failure
RestartSec=2
MemoryMax={limit}M
LimitNOFILE=4096

DynamicUser=yes
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# MemoryDenyWriteExecute is left out: kernels that are compiled while it runs could not be

[Install]
WantedBy=multi-user.target
"""
INSTALL = """#!/bin/sh
# Installs or renews the service {name}, version {version}, as root: sh install.sh. $PREFIX is put before each path.
set -eu
cd "$(dirname "$0")"
place="${{PREFIX:-}}{place}"
mkdir -p "$place"
{python} -m venv "$place/venv"
{torch}"$place/venv/bin/pip" install --no-cache-dir -c constraints.txt {installs}
# of a wheel of the same version pip takes the one that is there
"$place/venv/bin/pip" install --no-cache-dir --no-deps --force-reinstall {wheel}
{copies}mkdir -p "${{PREFIX:-}}/etc/systemd/system"
cp {name}.service "${{PREFIX:-}}/etc/systemd/system/{name}.service"
echo "next: systemctl daemon-reload && systemctl enable {name} && systemctl restart {name}"
"""


def systemd(plan: Plan) -> Files:
    """The unit, and a script that installs what it starts."""
    place = f"{PLACE}/{plan.name}"
    program, *given = plan.command(f"{place}/model", f"%S/{plan.name}", f"{place}/plugins")
    given = ["127.0.0.1" if word == "0.0.0.0" else word for word in given]
    command = " ".join([f"{place}/venv/bin/{program}", *(_escaped(word) for word in given)])
    pip = '"$place/venv/bin/pip" install --no-cache-dir'
    index = '--index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"'
    torch = f"{pip} {index} {' '.join(plan.torch)}\n"
    copied = (["model"] if plan.address is None else []) + (["plugins"] if plan.plugins else [])
    # a folder takes the place of another whole, which the server that still runs has read already
    copies = "".join(f'rm -rf "$place/{one}.new"; cp -r {one} "$place/{one}.new"; chmod -R a+rX "$place/{one}.new"\n'
                     f'rm -rf "$place/{one}"; mv "$place/{one}.new" "$place/{one}"\n' for one in copied)  # fmt: skip
    common = {"name": plan.name, "version": plan.version}
    bounds = {"cpus": plan.cpus, "grace": plan.grace, "limit": plan.limit}
    return {
        f"{plan.name}.service": UNIT.format(**common, **bounds, command=command),
        "install.sh": INSTALL.format(**common, place=place, python=f"python{plan.python}", torch=torch, copies=copies,
                                     installs=shlex.join(plan.installs), wheel=shlex.quote(f"./{plan.wheel}")),
    }  # fmt: skip


def _escaped(word: str) -> str:
    """A word of ExecStart: `%S` is meant, all else as it is written; see systemd.service(5), "Command lines"."""
    state, mark, rest = word.partition("%S/") if word.startswith("%S/") else ("", "", word)
    rest = rest.replace("%", "%%").replace("$", "$$")
    return f'{mark}"{rest}"' if any(c in rest for c in " '\"\\;") else mark + rest


TARGETS.register("systemd")(Target(systemd, lambda plan: ["sudo sh {out}/install.sh"], image=False))
