"""How a victim is trained and scored."""
