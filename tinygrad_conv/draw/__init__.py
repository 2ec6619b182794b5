"""A tape as something to look at: a model of the drawing, functions from model to model, formats on top."""
