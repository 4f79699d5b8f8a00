"""What is measured, against whom: run by `make bench`; the figures stand in RESULTS.md."""
