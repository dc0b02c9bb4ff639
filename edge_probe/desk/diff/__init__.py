"""Two bundles side by side: what both hear, what one hears alone, and what to listen to."""
