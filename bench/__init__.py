"""Measurements beside the best: ``make bench``. docs/performance.md has the method and the figures."""
