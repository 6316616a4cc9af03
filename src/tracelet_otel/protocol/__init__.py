"""What training and relay share: samples, how they travel, and what they say to each other."""
