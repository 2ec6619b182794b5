"""Random programs for tg and PyTorch: what one is, how one is drawn, and the ops it is made of."""
