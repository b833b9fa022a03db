"""How good a network, a latent space or a sample is."""
