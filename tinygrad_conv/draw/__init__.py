"""A graph as something to look at: one file per format, all made from the one plain model."""
