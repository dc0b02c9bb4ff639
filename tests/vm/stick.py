"""The image of a USB stick: one FAT partition called EDGEPROBE, made and read without a mount."""

from pathlib import Path

from vm.cache import call

LABEL = "EDGEPROBE"


def make(image: Path, *files: Path) -> None:
    """A new stick with these files."""
    with image.open("wb") as file:
        file.truncate(64 << 20)
    call(["mkfs.vfat", "-n", LABEL, image], timeout_s=30)
    if files:
        call(["mcopy", "-i", image, *files, "::"], timeout_s=60)


def results(image: Path) -> dict[str, str]:
    """Name to content of what devices left there."""
    names = call(["mdir", "-b", "-i", image, "::results"], timeout_s=30).split()
    return {
        name.rpartition("/")[2]: call(["mtype", "-i", image, name], timeout_s=30) for name in names
    }
