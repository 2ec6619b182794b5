"""The training loop, and what it measures, shows and keeps."""
