"""Training: one loop (``loop.fit``), and a textbook step for each kind of network."""
