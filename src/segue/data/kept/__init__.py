"""What is kept on this machine of data and policies that are elsewhere, or took long to decode."""
