"""A virtual machine of the size of a small board: its processor, memory, disks and USB port.

It has no network device. Its disk is an overlay of an image that is never written to. Of what the
guest wrote and did not flush, killing qemu (`Machine.cut_power`) loses the guest's page cache, and
what qemu itself had not put down in the overlay's tables yet; the host keeps what qemu gave it.
"""

import json
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from vm.agent import Agent, AgentError
from vm.cache import call
from vm.root import System

PROCESSOR = ("-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", "512M")

CLOCK = ("-icount", "shift=2,sleep=on", "-rtc", "clock=vm")
"""Time in the machine is instructions: 4 ns each, and as long as it takes where nobody has work. A
busy host makes it slow to watch; for what runs in it, it is always the same machine.
"""

TRACE = "trace_event=syscalls:sys_enter_fdatasync,syscalls:sys_exit_fdatasync trace_clock=mono"
"""For the kernel: `vm.syncs` reads when samples were safe."""

STICK, STICK_IMAGE = "stick", "stick-image"

BOOT_S = 1200.0
"""At most; an emulator on a busy machine is slow."""

STOP_S = 900.0


def overlay(base: Path, target: Path) -> Path:
    """A disk that begins as another one and leaves that as it is."""
    base_format = "raw" if base.suffix == ".img" else "qcow2"
    call(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.resolve(), "-F", base_format,
         target], timeout_s=30,
    )  # fmt: skip
    return target


@dataclass
class Machine:
    """One that can be started, cut off and started again.

    Parameters
    ----------
    system : System
        Kernel and initrd.
    disk : Path
        Its disk, see `overlay`.
    folder : Path
        For its sockets, ``console.log`` and ``commands.log``, to which every start appends.
    """

    system: System
    disk: Path
    folder: Path
    agent: Agent = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> Agent:
        """Boot, and wait until it takes commands."""
        assert self._process is None, "it runs"
        port, control = self.folder / "agent.sock", self.folder / "control.sock"
        for path in (port, control):
            path.unlink(missing_ok=True)
        words = [
            "qemu-system-aarch64", *PROCESSOR, *CLOCK, "-nographic", "-nodefaults", "-no-reboot",
            "-serial", "stdio", "-kernel", self.system.kernel, "-initrd", self.system.initrd,
            "-append", f"console=ttyAMA0 quiet panic=-1 {TRACE}",
            "-drive", f"if=none,id=disk,file={self.disk},format=qcow2,cache=writeback",
            "-device", "virtio-blk-pci,drive=disk",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={port},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=edge-probe.agent",
            "-device", "qemu-xhci", "-device", "virtio-rng-pci",
            "-qmp", f"unix:{control},server=on,wait=off",
        ]  # fmt: skip
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                list(map(str, words)), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        self.agent = Agent(port, self.folder / "commands.log")
        self.agent.connect(BOOT_S)
        return self.agent

    def wait_booted(self) -> None:
        """Until systemd has started all that it starts at boot."""
        self.agent.run("systemctl is-system-running --wait || true", timeout_s=BOOT_S, check=False)

    def cut_power(self) -> None:
        """End it like a pulled plug."""
        assert self._process is not None
        self._process.kill()
        self._gone(10)

    def stop(self) -> None:
        """Shut it down in order."""
        assert self._process is not None
        self.agent.run(["systemctl", "poweroff", "--no-block"])
        self._gone(STOP_S)

    def plug(self, stick: Path) -> None:
        """Put a USB stick with this image into the port."""
        file = {"driver": "file", "filename": str(stick)}
        self._control("blockdev-add", {"driver": "raw", "node-name": STICK_IMAGE, "file": file})
        self._control(
            "device_add",
            {"driver": "usb-storage", "id": STICK, "drive": STICK_IMAGE, "removable": True},
        )

    def unplug(self) -> None:
        """Pull the USB stick out; its image may be read afterwards."""
        self._control("device_del", {"id": STICK})
        deadline = time.monotonic() + 60
        while True:  # the device goes when the guest has noticed
            try:
                self._control("blockdev-del", {"node-name": STICK_IMAGE})
                return
            except ControlError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.cut_power()

    def _gone(self, timeout_s: float) -> None:
        assert self._process is not None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
            raise AgentError(f"the machine did not stop within {timeout_s:.0f} s") from None
        finally:
            self._process = None
            self.agent.close()

    def _control(self, command: str, arguments: dict[str, object]) -> None:
        """One command of the QEMU machine protocol."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(60)
            control.connect(str(self.folder / "control.sock"))
            with control.makefile("rw", encoding="utf-8") as lines:
                for execute, given in (("qmp_capabilities", {}), (command, arguments)):
                    lines.write(json.dumps({"execute": execute, "arguments": given}) + "\n")
                    lines.flush()
                    while "return" not in (answer := json.loads(lines.readline())):
                        if "error" in answer:
                            raise ControlError(f"{execute}: {answer['error']['desc']}")


class ControlError(Exception):
    """Qemu refused what it was asked."""
