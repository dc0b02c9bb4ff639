"""A small board that is not there: see README.md."""
