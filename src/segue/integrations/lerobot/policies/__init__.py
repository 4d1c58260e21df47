"""Policies of LeRobot (0.6.1) as policies of ours, continued and fine-tuned like our own.

    observation -- units: their processors --> batch of theirs -- fields: their network --> velocity
    prefix      -- units ------------------------------------------> flow, with our sampler and strategies

    theirs  t = 1 noise, t = 0 action, v = noise - action
    ours    t = 0 noise, t = 1 action, v = action - noise         the flip is in `fields`, and nowhere else

LeRobot is imported in `load` alone: everything else works on the objects that it is given.
"""
