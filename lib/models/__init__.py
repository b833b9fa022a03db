"""The reports' networks, one file per family."""
