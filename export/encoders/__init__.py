"""Frozen encoders for the device: converted, cut, quantised, and proven."""
