"""Layers, the containers that hold them, and what they are made of."""
