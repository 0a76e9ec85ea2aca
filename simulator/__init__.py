"""Bad days on a virtual clock: the real hub and agents over models of everything around them.

``python -m simulator --seed 42 --story`` replays one seed; docs/simulator.md says the rest.
"""
