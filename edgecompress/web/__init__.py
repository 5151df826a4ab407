"""A static page that runs an artifact in the visitor's browser. No torch, no server code."""
