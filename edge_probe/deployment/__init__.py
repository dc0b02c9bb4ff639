"""Where, when and for how long: the deployment's settings, its clocks and its effort."""
