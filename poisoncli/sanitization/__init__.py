"""The engine of kkt, minmax, influence, alfa and the five filters."""
