"""What a run is, and its stages: prepare, attack, defend, evaluate, export."""
