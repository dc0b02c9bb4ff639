"""The embedded default: a demonstration encoder, the demo bundle and the demo audio."""
