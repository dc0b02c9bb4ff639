"""Boards made of files, as their kernels would show them to a doctor.

Made from what is published (device trees, revision codes, forum posts), not copied from boards:
no board was at hand. ``write`` changes what a test wants to be different.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_tools.doctor.host import Host
from firmware_tools.layout import Layout

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
MICROPHONE = "usb:0d8c:0014@1-1.3"

CARDS = """\
 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Device         ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-3f980000.usb-1.3
"""
PCM = """\
00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
01-00: USB Audio : USB Audio : playback 1 : capture 1
"""
STREAM = """\
C-Media Electronics Inc. USB PnP Sound Device at usb-3f980000.usb-1.3, full speed : USB Audio

Playback:
  Status: Stop
  Interface 1
    Altset 1
    Format: S16_LE
    Rates: 44100

Capture:
  Status: Stop
  Interface 2
    Altset 1
    Format: S16_LE
    Channels: 1
    Rates: 48000, 44100
"""
MOUNTS = """\
24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
25 24 179:1 / /boot/firmware rw,relatime shared:29 - vfat /dev/mmcblk0p1 rw,fmask=0022
26 24 0:24 / /run rw,nosuid,nodev - tmpfs tmpfs rw,size=90000k
"""
GROUPS = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t60\t1\nmemory\t0\t60\t0\n"
"""Raspberry Pi OS on Linux 6.6, as it comes."""

FSTAB = """\
proc            /proc           proc    defaults          0       0
PARTUUID=0fd1-01  /boot/firmware  vfat    defaults          0       2
PARTUUID=0fd1-02  /               ext4    defaults,noatime  0       1
"""
DEPLOYMENT = f'deployment_id = "hill-1"\nmicrophone = "{MICROPHONE}"\ncapture_gain_db = 18.0\n'


@dataclass(frozen=True, slots=True)
class Known:
    """What differs between boards."""

    model: str
    part: str
    """``CPU part``; 0xb76 is the ARM1176 of the first boards."""
    total_kb: int
    machine: str = "aarch64"
    pointer_bits: int = 64
    swap: str = "/var/swap file\t102396\t0\t-2\n"
    """Of Debian 12."""


BOARDS: Mapping[str, Known] = {
    "pi-zero-2w": Known("Raspberry Pi Zero 2 W Rev 1.0", "0xd03", 436_820),
    "pi-3b-plus": Known("Raspberry Pi 3 Model B Plus Rev 1.3", "0xd03", 945_512),
    "pi-4b": Known("Raspberry Pi 4 Model B Rev 1.4", "0xd08", 1_893_472),
    "pi-5": Known(
        "Raspberry Pi 5 Model B Rev 1.0", "0xd0b", 8_245_888,
        swap="/dev/zram0 partition\t2097136\t0\t100\n",
    ),
    "pi-4b-armhf": Known("Raspberry Pi 4 Model B Rev 1.4", "0xd08", 1_893_472, pointer_bits=32),
    "pi-3b-armv7": Known(
        "Raspberry Pi 3 Model B Plus Rev 1.3", "0xd03", 945_512, "armv7l", pointer_bits=32
    ),
    "pi-zero-w": Known(
        "Raspberry Pi Zero W Rev 1.1", "0xb76", 439_956, "armv6l", pointer_bits=32
    ),
}  # fmt: skip


def make_board(root: Path, name: str) -> Host:
    """A board with a USB microphone, Raspberry Pi OS as it comes, and a deployment file."""
    known = BOARDS[name]
    files = {
        "proc/device-tree/model": f"{known.model}\0",
        "proc/cpuinfo": f"processor\t: 0\nFeatures\t: fp asimd crc32\nCPU part\t: {known.part}\n"
        f"Model\t\t: {known.model}\n",
        "proc/meminfo": f"MemTotal:  {known.total_kb} kB\nMemFree: 90000 kB\n"
        f"MemAvailable: {known.total_kb * 3 // 5} kB\nSwapTotal: 102396 kB\nSwapFree: 102396 kB\n",
        "proc/swaps": f"Filename\tType\tSize\tUsed\tPriority\n{known.swap}",
        "proc/cgroups": GROUPS,
        "proc/cmdline": "coherent_pool=1M cgroup_disable=memory console=tty1 rootwait\n",
        "proc/self/mountinfo": MOUNTS,
        "proc/asound/cards": CARDS,
        "proc/asound/pcm": PCM,
        "proc/asound/card1/usbid": "0d8c:0014\n",
        "proc/asound/card1/stream0": STREAM,
        "proc/asound/card1/pcm0c/sub0/hw_params": "closed\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
        "sys/fs/ext4/mmcblk0p2/errors_count": "0\n",
        "sys/fs/ext4/mmcblk0p2/last_error_time": "0\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        THROTTLED: "0\n",
        "sys/class/watchdog/watchdog0/identity": "Broadcom BCM2835 Watchdog timer\n",
        "sys/class/watchdog/watchdog0/state": "inactive\n",
        "sys/class/watchdog/watchdog0/timeout": "15\n",
        "boot/firmware/config.txt": "arm_64bit=1\n",
        "boot/firmware/cmdline.txt": "console=tty1 rootwait\n",
        "etc/fstab": FSTAB,
        "etc/edge-probe/deployment.toml": DEPLOYMENT,
        "etc/edge-probe/settings.toml": "rate = 48000\n",
    }
    for path, text in files.items():
        write(root / path, text)
    device = root / "sys/devices/platform/soc/usb1/1-1/1-1.3"
    (device / "1-1.3:1.0").mkdir(parents=True)
    card = root / "sys/class/sound/card1"
    card.mkdir(parents=True)
    (card / "device").symlink_to(device / "1-1.3:1.0")
    if name == "pi-5":
        for chip, text in {"name": "rpi-rtc", "hctosys": "1", "since_epoch": "1790000000"}.items():
            write(root / "sys/class/rtc/rtc0" / chip, text + "\n")
    layout = Layout(root)
    layout.state.mkdir(parents=True)
    return Host(layout.state, layout, known.machine, known.pointer_bits)


def write(path: Path, text: str) -> None:
    """A file, and the folders around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
