"""How the processes of one training find their run."""
