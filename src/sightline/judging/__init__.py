"""How good it is and what that means; from nouns alone, never a framework."""
