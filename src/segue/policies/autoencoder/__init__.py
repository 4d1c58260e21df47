"""Autoencoders of action chunks, whose latent space a policy can be learned in."""
