"""Pooling heads over frozen token maps, one short class each."""
