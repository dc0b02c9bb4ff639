"""Is the recorder alive: what it says of itself, and what others can find out without it."""
