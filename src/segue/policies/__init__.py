"""Policies: flow, diffusion and regression, each in action space or in the latent space of an autoencoder."""
