"""How the processes of other ranks find the run that rank 0 owns."""
