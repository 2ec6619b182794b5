"""The interactive page: its program, and what Python puts into it."""
