"""What Shipmate does, one use case a module."""
