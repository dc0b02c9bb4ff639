"""What a device says about itself, read-only: each finding with what to do."""
