"""One module per subcommand of ``edge-firmware``, imported only when chosen."""
