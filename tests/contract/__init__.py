"""What every store must do, whatever it keeps the rows in: one set of tests, run in several worlds."""
