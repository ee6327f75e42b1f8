"""Everything known about each outside system, a module or small package each."""
