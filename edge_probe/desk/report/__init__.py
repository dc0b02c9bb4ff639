"""A page to look at a deployment, to listen to it, and to say what is right: ``report``."""
