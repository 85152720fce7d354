"""The web desk: the only room that serves HTTP. ``create_app`` is its door."""

from mailrouter.desk.app import create_app

__all__ = ["create_app"]
