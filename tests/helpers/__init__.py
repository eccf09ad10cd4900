"""What more than one test file needs, in rooms by purpose."""
