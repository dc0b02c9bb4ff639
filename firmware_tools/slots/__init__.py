"""Two bundles on a device, a switch between them, and a way back."""
