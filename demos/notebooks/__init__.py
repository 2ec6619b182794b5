"""Three notebooks to read and run; `python -m demos.notebooks` runs them and writes what they show."""
