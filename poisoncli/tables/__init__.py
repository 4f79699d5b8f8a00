"""Files in and out; none of those that come in is trusted."""
