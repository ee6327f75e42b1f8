"""What the builds run besides the tests."""
