"""Programs to run, read and change; each stands alone and works without a network."""
