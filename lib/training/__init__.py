"""Training: one loop (``loop.fit``), and for each kind of network the step that a textbook prints."""
