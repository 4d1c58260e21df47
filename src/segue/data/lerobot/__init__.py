"""Data sets of LeRobot: versions 2.1 and 3.0 are read, 3.0 is written; state and action with pyarrow alone.

name/
  meta/info.json              version, rate, features (type, shape, names), where the data are
  meta/segue.json             in those that are written here: which state each action is relative to
  meta/episodes ...           length of each episode and, in 3.0, which file it is in
  data/chunk-000/...parquet   one row per frame: action, observation.state, timestamp, episode_index, ...
  videos/ ...                 opened for the cameras that are asked for
"""
