"""Builds the C kernels into the package where there is a C compiler; without one, NumPy serves.

Everything else about the distribution stands in ``pyproject.toml``. The environment may set

    CC                     the compiler (default: cc, gcc or clang, whichever is there)
    EDGE_PROBE_NO_NATIVE   1: leave the kernels out, for a wheel that runs anywhere
    EDGE_PROBE_PLATFORM    the platform of the wheel, such as manylinux_2_17_aarch64
"""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

NATIVE = Path("edge_probe", "head", "native")
LIBRARY = "libedgeprobe.so"
FLAGS = [
    "-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
]  # fmt: skip
"""No fused multiply-add: scores are one product rounded once, the same on every CPU."""


@cache
def compiler() -> tuple[str, ...] | None:
    """The command of a C compiler that works, or None.

    Raises
    ------
    SystemExit
        A platform was asked for, and there is none.
    """
    asked = "EDGE_PROBE_PLATFORM" in os.environ
    if os.environ.get("EDGE_PROBE_NO_NATIVE") == "1" or not sys.platform.startswith("linux"):
        return None
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for command in (tuple(name.split()) for name in names):
        if shutil.which(command[0]) and _compiles(command):
            return command
    if asked:
        raise SystemExit(f"edge-probe: no C compiler that works: tried {', '.join(names)}")
    return None


def _compiles(command: tuple[str, ...]) -> bool:
    """Whether it finds its headers, too."""
    program = "#include <math.h>\n#include <stdint.h>\nint32_t f(void) { return 1; }\n"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "-x", "c", "-shared", "-fPIC", "-o", f"{folder}/f.so", "-"],
            input=program, text=True, capture_output=True, check=False,
        )  # fmt: skip
    return done.returncode == 0


def build_library(folder: Path) -> None:
    """Compile every kernel into one library in this folder, or say why there is none."""
    cc = compiler()
    if cc is None:
        print("edge-probe: no C compiler: NumPy kernels only")
        return
    sources = sorted(map(str, NATIVE.glob("*.c")))
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{LIBRARY}.part"
    strict = ["-Werror"] if os.environ.get("EDGE_PROBE_PLATFORM") else []
    done = subprocess.run(
        [*cc, *FLAGS, *strict, *sources, "-lm", "-o", str(fresh)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        fresh.replace(folder / LIBRARY)
        return
    if os.environ.get("EDGE_PROBE_PLATFORM"):
        raise SystemExit(f"{cc[0]} failed:\n{done.stderr}")
    print(f"edge-probe: {cc[0]} failed, NumPy kernels only:\n{done.stderr}")


class BuildWithKernels(build_py):
    """Copies the packages and adds the library, in place for an editable installation."""

    def run(self) -> None:
        """Build."""
        super().run()
        folder = NATIVE if self.editable_mode else Path(self.build_lib) / NATIVE
        (folder / LIBRARY).unlink(missing_ok=True)  # perhaps of another platform
        build_library(folder)


class WheelOfOnePlatform(bdist_wheel):
    """A wheel for any Python on one platform, or for all where it holds no library."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform."""
        _, _, platform = super().get_tag()
        if self.root_is_pure:
            return "py3", "none", "any"
        return "py3", "none", os.environ.get("EDGE_PROBE_PLATFORM", platform)


class MaybeOfOnePlatform(Distribution):
    """A distribution whose files depend on the platform if there is a compiler."""

    def has_ext_modules(self) -> bool:
        """Whether it goes where compiled code goes."""
        return compiler() is not None


setup(
    distclass=MaybeOfOnePlatform,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": WheelOfOnePlatform},
)
