"""A bundle and the runtime onto a device. See the README for what lives here."""
