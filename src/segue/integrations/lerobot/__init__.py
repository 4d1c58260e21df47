"""Between Segue and LeRobot: its policies here, ours there. LeRobot is imported where it is used, and nowhere else."""
