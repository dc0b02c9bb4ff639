"""What a bundle costs a board: figures, and how they are measured where this runs."""
