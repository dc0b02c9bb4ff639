"""One module per subcommand: ``add_arguments`` for its options, ``run`` for its work.

`edge_probe.cli` imports a module only when its command was chosen.
"""
