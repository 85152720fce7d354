"""Read-only views over the register."""
