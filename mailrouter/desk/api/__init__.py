"""The JSON API: what the desk's people can do, for programs such as a diarium system. docs/api.md is its manual."""

from mailrouter.desk.api.app import create_api

__all__ = ["create_api"]
