"""Learning from corrections: another linear layer on scores that are kept, without any audio."""
