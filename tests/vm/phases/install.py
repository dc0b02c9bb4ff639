"""The package is installed on a system without network, pip and venv."""

from pathlib import Path
from typing import Any

from vm.machine import Machine
from vm.parts import Parts

PACKAGE = "/var/cache/edge-probe.deb"


def run(machine: Machine, parts: Parts, folder: Path) -> dict[str, Any]:
    """Install; the device records after its next boot."""
    agent = machine.start()
    machine.wait_booted()
    networks = agent.text("ls /sys/class/net").split()
    without = agent.text(
        "for name in pip ensurepip numpy onnxruntime; do"
        ' python3 -c "import $name" 2>/dev/null || echo $name; done'
    ).split()
    agent.run(["mkdir", "-p", "/var/lib/vm-sound"])
    agent.put(parts.scene, "/var/lib/vm-sound/scene.wav")
    agent.put(parts.package, PACKAGE)
    log = agent.text(["dpkg", "--install", PACKAGE], timeout_s=1800)
    (folder / "dpkg.log").write_text(log)
    agent.run(["rm", PACKAGE])
    return {
        "networks": networks,
        "not_there_before": without,
        "package_bytes": parts.package.stat().st_size,
        "version": agent.text(["dpkg-query", "-W", "-f", "${Version}", "edge-probe"]),
        "python": agent.text(["python3", "--version"]).strip(),
        "kernel": agent.text(["uname", "-rm"]).strip(),
        "systemd": agent.text(["systemctl", "--version"]).splitlines()[0],
        "installed_kib": int(agent.text(["du", "-sk", "/opt/edge-probe"]).split()[0]),
    }
