"""What Shipmate knows, in pure code: no I/O, no SDK, no clock."""
