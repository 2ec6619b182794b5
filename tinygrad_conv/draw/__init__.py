"""A tape as something to look at: a plain model of the drawing, functions from model to model, formats on top."""
