"""Measures of the quality of classifiers, latent spaces and samples."""
