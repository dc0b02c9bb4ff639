"""One module per subcommand of ``edge-export``, imported only when chosen."""
