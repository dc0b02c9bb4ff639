"""One module per command of ``edge-firmware``, imported only when chosen."""
