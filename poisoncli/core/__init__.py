"""The vocabulary: rows, victims, attacks, defenses, methods, losses."""
