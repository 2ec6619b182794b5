"""The picture of each question; they use `planes` and know nothing of the library."""
