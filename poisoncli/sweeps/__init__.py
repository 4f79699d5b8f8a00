"""Many runs: grids, and runs that are crafted together."""
