"""Files with bundles that lie on this device, for one that has none, or whose own is damaged."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_probe.bundle.signature import Verifier
from edge_probe.bundle.transport import read_offer
from edge_probe.bundle.trust import read_store
from edge_probe.errors import EdgeProbeError
from firmware_tools.layout import Layout
from firmware_tools.slots.install import Installed, Prove, install
from firmware_tools.slots.service import Service


def install_newest(
    paths: Sequence[Path],
    layout: Layout,
    service: Service | None,
    *,
    prove: Prove,
    verify: Verifier,
) -> Iterator[tuple[Path, Installed | EdgeProbeError | OSError]]:
    """Install the newest one that this device accepts and that works here.

    Parameters
    ----------
    paths : sequence of Path
        ``NAME.epb``; of equal releases the first counts.
    layout, service, prove, verify
        As for `install`.

    Yields
    ------
    tuple
        A file, and what was installed, which is the last; or why it was not.
    """
    offers = []
    for path in paths:
        try:
            offers.append((read_offer(path, verify=verify, trusted=read_store(layout.trust)), path))
        except EdgeProbeError as error:
            yield path, error
    offers.sort(key=lambda offer: -offer[0].manifest.release)
    for _, path in offers:
        try:
            done = install(path, layout, service, prove=prove, verify=verify)
        except (EdgeProbeError, OSError) as error:
            yield path, error
            continue
        yield path, done
        return
