"""The point mass as a task of somebody's own, which processes find by its name."""

from fakes.point_mass import PointMass, demonstrations
from segue.lab.tasks.task import Task

NAME = "fakes.point_task:TASK"
TASK = Task("point", "a point mass", 0.1, 25, 8, 3, PointMass, demonstrations)
