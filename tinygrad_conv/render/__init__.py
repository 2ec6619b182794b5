"""A graph as something to look at: each format a file, all made from the one plain model."""
