"""What stays on the disk: room for the next segment, samples, FLAC, privacy, plans."""
