"""Where the time of a training goes: phases that sum to its wall time."""
