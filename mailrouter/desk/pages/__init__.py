"""The pages, one module a room: each has a ``router``."""
