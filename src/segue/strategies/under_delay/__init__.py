"""Methods whose policies are trained under the delay that they will meet: their input and their target are apart."""
