"""From what is known to what people see: pure functions from subjects to cards."""
