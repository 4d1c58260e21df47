"""A method by its name on a trained policy: the chunk policy that a robot, a server and the laboratory run."""
