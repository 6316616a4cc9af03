"""What any part may use and no part is about: errors' end, environment, text."""
